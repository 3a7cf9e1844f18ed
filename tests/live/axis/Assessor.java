import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Map;

/** The assessor's office: rpc/encoded by Axis 1.4, whose replies are full of multiRef. Each call leaves a line in JOURNAL. */
public class Assessor {
    private static final Map<String, Parcel> PARCELS = new LinkedHashMap<>();

    private static void journal(String line) throws IOException {
        Files.writeString(Path.of(System.getenv("JOURNAL")), line + "\n", StandardCharsets.UTF_8,
            StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    public int add(int a, int b) throws IOException {
        journal("add " + a + " " + b);
        return a + b;
    }

    public Parcel record(Parcel parcel) throws IOException {
        Owner owner = parcel.getOwner();
        journal("record " + parcel.getNumber() + " " + parcel.getArea() + " " + parcel.getFloors() + " " + parcel.getValue()
            + " " + (owner == null ? null : owner.getName()));
        PARCELS.put(parcel.getNumber(), parcel);
        return parcel;
    }

    public Parcel get(String number) throws IOException, NoSuchParcel {
        journal("get " + number);
        if (!PARCELS.containsKey(number)) {
            throw new NoSuchParcel(number, PARCELS.size());
        }
        return PARCELS.get(number);
    }

    /** The same parcel twice, and a copy with the same owner: the graph has fewer objects than the tree. */
    public Parcel[] block(String number) throws IOException {
        journal("block " + number);
        Parcel parcel = PARCELS.get(number), next = new Parcel();
        next.setNumber(number + "a");
        next.setOwner(parcel.getOwner());
        next.setFormerOwners(new Owner[] {parcel.getOwner(), null, parcel.getOwner()});
        next.setNeighbour(parcel);
        return new Parcel[] {parcel, next, parcel};
    }

    /** Two parcels that are each other's neighbour: no tree at all. */
    public Parcel ring() throws IOException {
        journal("ring");
        Parcel one = new Parcel(), other = new Parcel();
        one.setNeighbour(other);
        other.setNeighbour(one);
        return one;
    }

    public String[] reverse(String[] words) throws IOException {
        journal("reverse " + words.length);
        String[] reversed = new String[words.length];
        for (int at = 0; at < words.length; at++) {
            reversed[words.length - 1 - at] = words[at];
        }
        return reversed;
    }

    public int[][] turn(int[][] rows) throws IOException {
        journal("turn");
        int[][] turned = new int[rows[0].length][rows.length];
        for (int row = 0; row < rows.length; row++) {
            for (int column = 0; column < rows[row].length; column++) {
                turned[column][row] = rows[row][column];
            }
        }
        return turned;
    }

    public Map<String, Object> totals(String number) throws IOException {
        journal("totals " + number);
        Map<String, Object> totals = new LinkedHashMap<>();
        totals.put("number", number);
        totals.put("parcels", PARCELS.size());
        totals.put("owner", PARCELS.get(number).getOwner());
        return totals;
    }

    public void close(String number) throws IOException {
        journal("close " + number);
        PARCELS.remove(number);
    }

    public String audit() throws IOException {
        journal("audit");
        throw new IllegalStateException("The index is broken.");
    }
}
