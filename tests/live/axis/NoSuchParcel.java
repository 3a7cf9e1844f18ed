/** A declared exception, sent as a bean. */
public class NoSuchParcel extends Exception {
    private String number;
    private int known;

    public NoSuchParcel() {}

    public NoSuchParcel(String number, int known) {
        super("There is no parcel " + number + ".");
        this.number = number;
        this.known = known;
    }

    public String getNumber() { return number; }
    public void setNumber(String number) { this.number = number; }
    public int getKnown() { return known; }
    public void setKnown(int known) { this.known = known; }
}
