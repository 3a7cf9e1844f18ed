package hms.bench;

import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import hms.bench.orders.PlaceOrder;
import org.apache.camel.Exchange;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.component.cxf.jaxws.CxfConfigurer;
import org.apache.camel.component.jackson.JacksonDataFormat;
import org.apache.camel.main.Main;
import org.apache.cxf.endpoint.Client;
import org.apache.cxf.endpoint.Server;
import org.apache.cxf.frontend.AbstractWSDLBasedEndpointFactory;
import org.apache.cxf.message.MessageContentsList;
import org.apache.cxf.transport.http.HTTPConduit;

/**
 * REST in front, SOAP behind, with Camel's own parts: platform-http, Jackson and CXF with classes from the WSDL.
 *
 * PORT, SERVICE (the HTTP service's address), WSDL; KEY, ISSUER, AUDIENCE and LOG where guards are on.
 */
public class Gateway extends RouteBuilder {
    public static void main(String[] arguments) throws Exception {
        Main main = new Main();
        main.configure().httpServer().withEnabled(true).withHost("127.0.0.1")
                .withPort(Integer.parseInt(System.getenv("PORT")));
        main.configure().addRoutesBuilder(new Gateway());
        main.run(arguments);
    }

    @Override
    public void configure() throws Exception {
        // The names of the WSDL, as the other gateways publish them.
        ObjectMapper mapper = JsonMapper.builder()
                .propertyNamingStrategy(PropertyNamingStrategies.UPPER_CAMEL_CASE)
                .enable(MapperFeature.ACCEPT_CASE_INSENSITIVE_PROPERTIES)
                .disable(SerializationFeature.WRITE_DATES_AS_TIMESTAMPS)
                .build();
        String service = "cxf://http://" + System.getenv("SERVICE") + "/Orders.asmx"
                + "?serviceClass=hms.bench.orders.OrdersSoap&dataFormat=POJO&defaultOperationName=PlaceOrder"
                + "&cxfConfigurer=#class:hms.bench.Gateway$Kept&wsdlURL=" + System.getenv("WSDL");
        String front = "platform-http:/soap/PlaceOrder?httpMethodRestrict=POST";
        var route = System.getenv("KEY") == null ? from(front) : from(front).process(new Guards());
        route.unmarshal(new JacksonDataFormat(mapper, PlaceOrder.class))
                .process(exchange -> {
                    exchange.getMessage().removeHeaders("*"); // the client's are not the service's
                    exchange.getMessage().setBody(exchange.getMessage().getBody(PlaceOrder.class).getOrder());
                })
                .to(service)
                .process(exchange -> {
                    Object order = exchange.getMessage().getBody(MessageContentsList.class).get(0);
                    exchange.getMessage().removeHeaders("*");
                    exchange.getMessage().setBody(order);
                    exchange.getMessage().setHeader(Exchange.CONTENT_TYPE, "application/json");
                })
                .marshal(new JacksonDataFormat(mapper, PlaceOrder.class));
    }

    /** Plain HTTP/1.1 on kept connections; else each connection would first ask for an upgrade to HTTP/2. */
    public static final class Kept implements CxfConfigurer {
        @Override
        public void configureClient(Client client) {
            ((HTTPConduit) client.getConduit()).getClient().setVersion("1.1");
        }

        @Override
        public void configureServer(Server server) {
        }

        @Override
        public void configure(AbstractWSDLBasedEndpointFactory factory) {
        }
    }
}
