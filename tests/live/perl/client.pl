# SOAP::Lite's own client: `client.pl LOCATION` calls ledger.pl, and prints a JSON object of what it got.
use strict;
use warnings;
use SOAP::Lite;
use JSON::PP;

my ($location) = @ARGV;
my $client = SOAP::Lite->new(proxy => $location, uri => 'urn:board:ledger');
my $sum = $client->call(add => 40, 2);
my $fault = $client->call(get => 7);
my $status = $client->transport->status;
my $crash = $client->call('audit');
print JSON::PP->new->canonical->encode({
    sum => $sum->result,
    code => $fault->faultcode,
    text => $fault->faultstring,
    detail => $fault->faultdetail,
    status => $status,
    crash => $crash->faultcode,
});
