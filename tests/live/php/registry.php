<?php
declare(strict_types=1);

/** The operations of registry.wsdl; parts are arguments in the WSDL's order. */
class Registry
{
    public function add(int $a, int $b): int
    {
        journal("add $a $b");
        return $a + $b;
    }

    public function divide(int $a, int $b): array
    {
        journal('divide');
        if ($b === 0) {
            throw new SoapFault('Server', 'Division by zero.');
        }
        return ['quotient' => intdiv($a, $b), 'remainder' => $a % $b];
    }

    // Says in the journal what has arrived, types included: null is not ''.
    public function enroll(object $voter, ?string $remark): object
    {
        journal('enroll ' . json_encode($voter, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES) . ' ' . json_encode($remark));
        file_put_contents(getenv('STATE') . '/voter-' . md5($voter->name), serialize($voter));
        return $voter;
    }

    public function find(array $names): array
    {
        journal('find ' . json_encode($names));
        $found = [];
        foreach ($names as $name) {
            $file = getenv('STATE') . '/voter-' . md5($name);
            if (is_file($file)) {
                $found[] = unserialize(file_get_contents($file));
            }
        }
        return $found;
    }

    public function upper(array $words): array
    {
        journal('upper ' . json_encode($words));
        return array_map(fn(?string $word) => $word === null ? null : strtoupper($word), $words);
    }

    public function turn(array $rows): array
    {
        journal('turn ' . json_encode($rows));
        return $rows ? array_map(null, ...$rows) : [];
    }

    public function echo(object $sample): object
    {
        journal('echo ' . bin2hex($sample->image) . ' ' . bin2hex($sample->digest) . " $sample->born $sample->seen");
        return $sample;
    }

    public function tally(array $votes): array
    {
        journal('tally ' . json_encode($votes));
        return [...$votes, 'sum' => array_sum($votes), 'share' => 0.5, 'certified' => true, 'by' => 'Ada', 'at' => null];
    }

    // The same object twice: PHP writes it once and refers to it by href.
    public function household(object $voter): array
    {
        journal('household');
        return [$voter, clone $voter, $voter];
    }

    public function remove(int $id): bool
    {
        journal("remove $id");
        if ($id < 0) {
            throw new SoapFault('Client', "Nobody has the number $id.", null, ['id' => $id, 'hint' => 'above 0'], 'noSuchVoter');
        }
        return true;
    }
}

function serve(string $wsdl): void
{
    $server = new SoapServer($wsdl, ['features' => SOAP_SINGLE_ELEMENT_ARRAYS]);
    $server->setObject(new Registry());
    $server->handle();
}
