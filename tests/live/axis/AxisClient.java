import javax.xml.namespace.QName;
import org.apache.axis.AxisFault;
import org.apache.axis.client.Call;
import org.apache.axis.client.Service;
import org.w3c.dom.Element;

/** Axis 1.4's own client: calls the Assessor at its argument, and prints a line for each call. */
public class AxisClient {
    public static void main(String[] arguments) throws Exception {
        System.out.println("add " + call(arguments[0], "add", 40, 2));
        try {
            System.out.println("get " + call(arguments[0], "get", "Z"));
        } catch (AxisFault fault) {
            System.out.println("fault " + fault.getFaultCode().getLocalPart() + ": " + fault.getFaultString());
            for (Element detail : fault.getFaultDetails()) {
                System.out.println("detail " + detail.getLocalName());
            }
        }
    }

    private static Object call(String address, String operation, Object... parts) throws Exception {
        Call call = (Call) new Service().createCall();
        call.setTargetEndpointAddress(address);
        call.setOperationName(new QName("urn:board:assessor", operation));
        return call.invoke(parts);
    }
}
