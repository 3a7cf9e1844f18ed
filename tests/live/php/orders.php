<?php
declare(strict_types=1);

#[AllowDynamicProperties]
class Party {}

class Company extends Party {}

/** The operations of orders.wsdl. An absent part is a property that isn't there, a nil one is null. */
class Orders
{
    public function __construct(private SoapServer $server, private string $clerk = '') {}

    // A header block arrives as a call of its name, before the operation's.
    public function desk(object $desk): void
    {
        journal("header desk $desk->clerk/$desk->floor");
        $this->clerk = $desk->clerk;
    }

    public function place(object $in): array
    {
        journal('place');
        file_put_contents($this->file($in->order->number), serialize($in->order));
        $cents = 0;
        foreach ($in->order->line as $line) {
            $cents += (int) round(100 * (float) $line->price->_) * $line->quantity;
        }
        $stamp = "{$in->order->number}/$this->clerk";
        $this->server->addSoapHeader(new SoapHeader('urn:board:orders', 'receipt', ['stamp' => $stamp]));
        $currency = $in->order->line[0]->price->currency;
        $total = sprintf('%s%d.%02d', $cents < 0 ? '-' : '', intdiv(abs($cents), 100), abs($cents) % 100);
        return ['lines' => count($in->order->line), 'total' => ['_' => $total, 'currency' => $currency]];
    }

    public function get(object $in): array
    {
        journal('get');
        if ($in->number === 500) {
            throw new RuntimeException('cannot open /srv/orders/500.lock');
        }
        if ($in->number === 501) {
            throw new SoapFault('Server', 'The warehouse is closed.');
        }
        $file = $this->file($in->number);
        return is_file($file) ? ['order' => unserialize(file_get_contents($file))] : [];
    }

    public function same(object $in): array
    {
        journal('same');
        return ['same' => serialize($in->order) === file_get_contents($this->file($in->order->number))];
    }

    public function cancel(object $in): array
    {
        journal('cancel');
        if (!is_file($this->file($in->number))) {
            $detail = ['number' => $in->number, 'nearest' => [$in->number - 1, $in->number + 1]];
            throw new SoapFault('Client', "There is no order $in->number.", null, $detail, 'noSuchOrder');
        }
        unlink($this->file($in->number));
        return [];
    }

    public function remind(object $in): void
    {
        journal("remind $in->number");
    }

    private function file(int $number): string
    {
        return getenv('STATE') . "/order-$number";
    }
}

function serve(string $wsdl): void
{
    $server = new SoapServer($wsdl, [
        'features' => SOAP_SINGLE_ELEMENT_ARRAYS,
        'classmap' => ['Party' => Party::class, 'Company' => Company::class],
    ]);
    $server->setObject(new Orders($server));
    $server->handle();
}
