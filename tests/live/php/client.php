<?php
// PHP's own SoapClient: `client.php WSDL LOCATION VERSION` calls orders.wsdl, and prints a JSON object of what it got.
declare(strict_types=1);

[, $wsdl, $location, $version] = $argv;
$client = new SoapClient($wsdl, [
    'location' => $location,
    'soap_version' => $version === '1.2' ? SOAP_1_2 : SOAP_1_1,
    'cache_wsdl' => WSDL_CACHE_NONE,
    'trace' => true,
]);

function fault(callable $call): array
{
    try {
        return ['answer' => $call()];
    } catch (SoapFault $fault) {
        return ['code' => $fault->faultcode, 'text' => $fault->faultstring, 'detail' => $fault->detail ?? null];
    }
}

echo json_encode([
    'get' => $client->get(['number' => -9]),
    'type' => preg_match('/^content-type: *([^\r\n]*)/im', $client->__getLastResponseHeaders(), $found) ? $found[1] : '',
    'declared' => fault(fn() => $client->cancel(['number' => 9])),
    'status' => strtok($client->__getLastResponseHeaders(), "\r\n"),
    'closed' => fault(fn() => $client->get(['number' => 501])),
    'broken' => fault(fn() => $client->get(['number' => 500])),
]);
