<?php
// PHP's own SoapServer behind `php -S`: /orders is document/literal, /registry rpc/encoded, /cart keeps sessions.
// Nothing else lives from one request to the next, so what is kept lies in STATE, and each call leaves a line in JOURNAL.
declare(strict_types=1);

function journal(string $line): void
{
    file_put_contents(getenv('JOURNAL'), $line . "\n", FILE_APPEND | LOCK_EX);
}

$service = basename((string) parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH));
if (!in_array($service, ['cart', 'orders', 'registry'], true)) {
    http_response_code(404);
    exit;
}
require __DIR__ . "/$service.php";
ini_set('soap.wsdl_cache_enabled', '0');
serve(__DIR__ . "/$service.wsdl");
