<?php
declare(strict_types=1);

/** The operations of cart.wsdl. PHP keeps the object in the caller's session, which it knows by a cookie. */
class Cart
{
    private array $items = [];

    public function add(object $in): array
    {
        $this->items[] = $in->item;
        journal('add ' . implode(',', $this->items));
        return ['count' => count($this->items)];
    }

    public function show(): array
    {
        return ['item' => $this->items];
    }

    public function clear(): array
    {
        session_destroy();
        setcookie(session_name(), '', 1, '/');
        return [];
    }
}

function serve(string $wsdl): void
{
    session_save_path(getenv('STATE'));
    session_start();
    $server = new SoapServer($wsdl);
    $server->setClass(Cart::class);
    $server->setPersistence(SOAP_PERSISTENCE_SESSION);
    $server->handle();
}
