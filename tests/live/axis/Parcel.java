import java.math.BigDecimal;
import java.util.Calendar;

/** A bean of everything that Axis has a type for; `neighbour` makes it recursive. */
public class Parcel {
    private String number;
    private long area;
    private Integer floors;
    private boolean exempt;
    private BigDecimal value;
    private double rate;
    private Calendar assessed;
    private byte[] deed;
    private String[] notes;
    private Owner owner;
    private Owner[] formerOwners;
    private Parcel neighbour;

    public Parcel() {}

    public String getNumber() { return number; }
    public void setNumber(String number) { this.number = number; }
    public long getArea() { return area; }
    public void setArea(long area) { this.area = area; }
    public Integer getFloors() { return floors; }
    public void setFloors(Integer floors) { this.floors = floors; }
    public boolean isExempt() { return exempt; }
    public void setExempt(boolean exempt) { this.exempt = exempt; }
    public BigDecimal getValue() { return value; }
    public void setValue(BigDecimal value) { this.value = value; }
    public double getRate() { return rate; }
    public void setRate(double rate) { this.rate = rate; }
    public Calendar getAssessed() { return assessed; }
    public void setAssessed(Calendar assessed) { this.assessed = assessed; }
    public byte[] getDeed() { return deed; }
    public void setDeed(byte[] deed) { this.deed = deed; }
    public String[] getNotes() { return notes; }
    public void setNotes(String[] notes) { this.notes = notes; }
    public Owner getOwner() { return owner; }
    public void setOwner(Owner owner) { this.owner = owner; }
    public Owner[] getFormerOwners() { return formerOwners; }
    public void setFormerOwners(Owner[] formerOwners) { this.formerOwners = formerOwners; }
    public Parcel getNeighbour() { return neighbour; }
    public void setNeighbour(Parcel neighbour) { this.neighbour = neighbour; }
}
