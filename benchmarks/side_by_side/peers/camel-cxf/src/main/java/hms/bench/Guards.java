package hms.bench;

import com.auth0.jwt.JWT;
import com.auth0.jwt.JWTVerifier;
import com.auth0.jwt.algorithms.Algorithm;
import com.auth0.jwt.exceptions.JWTVerificationException;
import io.github.bucket4j.Bucket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.interfaces.ECPublicKey;
import java.security.spec.X509EncodedKeySpec;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.camel.spi.Synchronization;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Token, limit and log: each call is verified, counted, and told in a line once it is done. */
final class Guards implements Processor, Synchronization {
    private static final Logger LOG = LoggerFactory.getLogger("access");
    private final Bucket bucket = Bucket.builder()
            .addLimit(limit -> limit.capacity(1_000_000).refillGreedy(1_000_000, Duration.ofSeconds(1)))
            .build();
    private final JWTVerifier verifier;

    Guards() throws Exception {
        String text = Files.readString(Path.of(System.getenv("KEY"))).replaceAll("-----[A-Z ]+-----|\\s", "");
        var key = KeyFactory.getInstance("EC").generatePublic(new X509EncodedKeySpec(Base64.getDecoder().decode(text)));
        verifier = JWT.require(Algorithm.ECDSA256((ECPublicKey) key, null))
                .withIssuer(System.getenv("ISSUER"))
                .withAudience(System.getenv("AUDIENCE"))
                .build();
    }

    @Override
    public void process(Exchange exchange) {
        exchange.getExchangeExtension().addOnCompletion(this);
        exchange.setProperty("path", exchange.getMessage().getHeader(Exchange.HTTP_PATH, String.class));
        String token = exchange.getMessage().getHeader("Authorization", "", String.class);
        if (!bucket.tryConsume(1)) {
            refuse(exchange, 429);
        } else if (!token.startsWith("Bearer ")) {
            refuse(exchange, 401);
        } else {
            try {
                verifier.verify(token.substring(7));
            } catch (JWTVerificationException wrong) {
                refuse(exchange, 401);
            }
        }
    }

    private static void refuse(Exchange exchange, int status) {
        exchange.getMessage().removeHeaders("*");
        exchange.getMessage().setHeader(Exchange.HTTP_RESPONSE_CODE, status);
        exchange.getMessage().setBody("");
        exchange.setRouteStop(true);
    }

    @Override
    public void onComplete(Exchange exchange) {
        Object status = exchange.getMessage().getHeader(Exchange.HTTP_RESPONSE_CODE);
        tell(exchange, status == null ? 200 : status);
    }

    @Override
    public void onFailure(Exchange exchange) {
        tell(exchange, 500);
    }

    private static void tell(Exchange exchange, Object status) {
        LOG.info("{\"time\":\"{}\",\"path\":\"{}\",\"status\":{},\"ms_total\":{}}", Instant.now(),
                exchange.getProperty("path"), status, System.currentTimeMillis() - exchange.getCreated());
    }
}
