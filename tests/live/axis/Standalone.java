import java.net.InetAddress;
import java.net.ServerSocket;
import org.apache.axis.transport.http.SimpleAxisServer;

/** Axis 1.4's own little server, on a free port of the loopback that it prints. */
public class Standalone {
    public static void main(String[] arguments) throws Exception {
        ServerSocket socket = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        SimpleAxisServer server = new SimpleAxisServer(2);
        server.setServerSocket(socket);
        System.out.println("ready " + socket.getLocalPort());
        server.run();
    }
}
