# SOAP::Lite's own daemon: rpc/encoded, with the types that Perl makes out of values by itself. Each call leaves a line in
# JOURNAL. One process, one connection at a time, as such services are.
use strict;
use warnings;
use SOAP::Transport::HTTP;
use Socket qw(IPPROTO_TCP TCP_NODELAY);

my $daemon = SOAP::Transport::HTTP::Daemon->new(LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1)
    ->dispatch_with({'urn:board:ledger' => 'Ledger'});
# It writes an answer in two pieces, and the second would wait 40 ms for the first one's acknowledgement.
setsockopt $daemon->{_daemon}, IPPROTO_TCP, TCP_NODELAY, 1;
$| = 1;
print 'ready ', $daemon->url, "\n";
$daemon->handle;

package Ledger;
use JSON::PP;

my ($json, %book);

sub journal {
    $json ||= JSON::PP->new->canonical->allow_blessed->convert_blessed->utf8;
    open my $out, '>>', $ENV{JOURNAL} or die "no journal: $!";
    print {$out} join(' ', shift, map { $json->allow_nonref->encode(plain($_)) } @_), "\n";
    close $out;
}

# Without the classes that SOAP::Lite makes out of xsi:type.
sub plain {
    my $value = shift;
    return [map { plain($_) } @$value] if UNIVERSAL::isa($value, 'ARRAY');
    return {map { $_ => plain($value->{$_}) } keys %$value} if UNIVERSAL::isa($value, 'HASH');
    return $value;
}

# A named, typed result.
sub add {
    my ($class, $a, $b) = @_;
    journal('add', $a, $b);
    return SOAP::Data->name(total => $a + $b)->type('int');
}

# A bare one: SOAP::Lite calls it s-gensym1 or so.
sub title {
    my ($class, $name, $times) = @_;
    journal('title', $name, $times);
    return join ' ', ($name) x $times;
}

# Two of them.
sub range {
    my ($class, $values) = @_;
    journal('range', $values);
    my @sorted = sort { $a <=> $b } @$values;
    return SOAP::Data->name(least => $sorted[0]), SOAP::Data->name(most => $sorted[-1]);
}

# A hash has no order; what was typed when it came is an object of that class when it goes.
sub post {
    my ($class, $entry) = @_;
    journal('post', $entry);
    return $book{$entry->{id}} = $entry;
}

sub post_all {
    my ($class, $entries) = @_;
    journal('post_all', scalar @$entries);
    $book{$_->{id}} = $_ for @$entries;
    return $entries;
}

# Two entries with one payee: SOAP::Lite writes it apart from both, and refers to it.
sub pair {
    my ($class, $entry) = @_;
    journal('pair', $entry->{id});
    return [$entry, {%$entry, id => $entry->{id} + 1}];
}

sub get {
    my ($class, $id) = @_;
    journal('get', $id);
    die SOAP::Fault->faultcode('Client.NoSuchEntry')->faultstring("There is no entry $id.")
        ->faultdetail(SOAP::Data->name(noSuchEntry => \SOAP::Data->value(
            SOAP::Data->name(id => $id), SOAP::Data->name(last => 0 + keys %book))))
        unless exists $book{$id};
    return SOAP::Data->name(entry => $book{$id});
}

sub reverse {
    my ($class, $words) = @_;
    journal('reverse', $words);
    return [reverse @$words];
}

sub close_year {
    my ($class) = @_;
    journal('close_year');
    return;
}

sub audit {
    my ($class) = @_;
    journal('audit');
    my $nothing = 0;
    return 1 / $nothing;
}
