/** A bean; many parcels may have the same. */
public class Owner {
    private String name;
    private int share;

    public Owner() {}

    public String getName() { return name; }
    public void setName(String name) { this.name = name; }
    public int getShare() { return share; }
    public void setShare(int share) { this.share = share; }
}
