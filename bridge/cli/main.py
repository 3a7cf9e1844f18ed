"""The command line. Each error that a user can cause is one sentence on standard error, with exit code 1."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import shlex
import signal
import sys
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.importing import ImportCommands
from bridge.cli.named import missing_later
from bridge.cli.program import program
from bridge.cli.terminal import (
    ConfigFile,
    complain,
    console,
    explained,
    out,
    run,
    settings_of,
    show_table,
    whole_number,
)
from bridge.config.settings import Settings
from bridge.errors import SettingsError, SetupError
from bridge.http.client_address import is_address
from bridge.wording import counted

app = typer.Typer(
    name="hms-bridge",
    help="A protocol-translation API gateway: REST and JSON in front; SOAP, gRPC and XML behind.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

log = logging.getLogger("bridge")

RoutesDir = Annotated[Path | None, typer.Option("--routes", help="The folder of route specs.", metavar="DIR")]
MAX_WORKERS = 1024
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        out(f"hms-bridge {version('hms-bridge')}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A protocol-translation API gateway: REST and JSON in front; SOAP, gRPC and XML behind."""


@app.command()
def serve(
    routes: RoutesDir = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[str, typer.Option(help="The port to listen on; 0 takes a free one.", metavar="PORT")] = "8080",
    workers: Annotated[str, typer.Option(help="Processes that serve.", metavar="NUMBER")] = "1",
    tls_cert: Annotated[
        Path | None, typer.Option(help="A PEM file: the certificate to serve HTTPS with.", metavar="FILE")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="A PEM file: its key, where that is not in the same file.", metavar="FILE")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Serve the routes until Ctrl-C or SIGTERM; calls under way may finish."""
    from bridge.observe.log import log_to_stderr
    from bridge.server.signals import remember_hangup

    remember_hangup()  # before the modules that take long to load
    from bridge.server import listener as server

    files = {"routes": routes, "tls_cert": tls_cert, "tls_key": tls_key}
    settings = settings_of(config, **{name: path.absolute() for name, path in files.items() if path})
    with explained():
        number = whole_number(port, "--port", 0, 65535)
        if whole_number(workers, "--workers", 1, MAX_WORKERS) > 1:
            raise SettingsError(
                f"{workers} workers can't share limits kept in memory; use one worker, or several gateways with a Redis"
            )
        if routes is not None and not os.path.isdir(routes):
            raise SettingsError(f"--routes: {routes} is not a folder")
        log_to_stderr(settings.log_level, settings.log_format)
        for warning in filter(None, (*missing_later(settings), open_pages(settings, host))):
            log.warning("%s", warning)
        announce = _announce if settings.log_format == "text" else _log_address
        try:
            server.serve(settings, host, number, partial(announce, settings))
        except SetupError as error:
            if settings.log_format == "text":
                raise
            log.critical("%s", error)
            raise typer.Exit(1) from None


def open_pages(settings: Settings, host: str) -> str:
    """A warning, if the pages below ``/-/`` are open to other machines and no setting says so; else ``""``."""
    if settings.admin_public is not None or settings.admin_bind is not None:
        return ""
    if host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback):
        return ""
    return (
        f"whoever reaches {host} can read the metrics, the OpenAPI document and the pages of the gateway; "
        "BRIDGE_ADMIN_PUBLIC says which stay public, and BRIDGE_ADMIN_BIND puts them on a listener of their own"
    )


def _announce(settings: Settings, url: str, pages: str, routes: int) -> None:
    error = console()
    error.print(f"HMS Bridge serves {counted(routes, 'route')} on [bold]{url}[/bold]")
    if pages.startswith("unix:"):
        error.print(f"  admin    {pages}", style="dim")
    else:
        for page in ("docs", "console"):
            if page in settings.public_pages or settings.admin_bind is not None:
                error.print(f"  {page:9}{pages}/-/{page}", style="dim")
    error.print(f"  log      {_access_log(settings)} (access log, one line a request)", style="dim", markup=False)


def _log_address(settings: Settings, url: str, pages: str, routes: int) -> None:
    served = counted(routes, "route")
    log.info("HMS Bridge serves %s on %s", served, url)
    if pages != url:
        log.info("the admin API and the pages of the gateway are on %s", pages)
    log.info("access log: %s", _access_log(settings))


def _access_log(settings: Settings) -> str:
    return "standard output" if settings.log == "-" else str(settings.path(settings.log).absolute())


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The folder; made where there is none.")] = Path("."),
) -> None:
    """Start a home: a route with comments, mesh.yml, .gitignore, and folders for contracts."""
    from bridge.cli.new_home import create

    with explained():
        paths = create(folder)
    error = console()
    error.print(f"Wrote {', '.join(map(str, paths))}.", markup=False)
    where = "" if folder == Path(".") else f"cd {shlex.quote(str(folder))} && "
    error.print(f"Next:\n  {where}{program()} check\n  {program()} serve", markup=False)


@app.command()
def new_transformer(
    name: Annotated[str, typer.Argument(help="What specs call it: small letters, digits, - and _.")],
) -> None:
    """Start a plug-in: a project of a transformer in the new folder NAME, with tests that pass and an example."""
    from bridge.cli.program import interpreter
    from bridge.cli.transformer_project import create

    with explained():
        paths = create(name)
    error, python = console(), interpreter()
    error.print(f"Wrote {', '.join(map(str, paths))}.", markup=False)
    steps = (f"cd {name}", f"{python} -m pip install -e '.[dev]'", f"{python} -m pytest")
    error.print("\n  ".join(("Next (README.md says more):", *steps)), markup=False)


@app.command()
def doctor(
    host: Annotated[str, typer.Option(help="The address that a gateway is to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port that it is to listen on.", min=0, max=65535)] = 8080,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Look at all that a gateway needs here; each line is ok, warn or fail, with what to do. Writes nothing."""
    from bridge.cli.doctor import Finding, examine

    settings = settings_of(config)

    async def report() -> list[Finding]:
        findings = []
        async for finding in examine(settings, host, port):
            findings.append(finding)
            if not as_json:
                advice = f" -> {finding.advice}" if finding.advice else ""
                out(f"{finding.level:4}  {finding.check:11}  {finding.text}{advice}")
        return findings

    findings = run(report)
    is_well = all(finding.level != "fail" for finding in findings)
    if as_json:
        out(json.dumps({"ok": is_well, "findings": [asdict(finding) for finding in findings]}))
    raise typer.Exit(0 if is_well else 1)


@app.command()
def check(
    specs: Annotated[
        list[Path] | None, typer.Argument(help="Spec files, and folders of them; the routes folder when left out.")
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Load and compile specs without serving; faults are shown as file:line: key: reason."""
    from bridge.cli.offline import judge

    settings = settings_of(config)
    faults, notes, count, access = run(lambda: judge(settings, specs or []))
    if as_json:
        rows = [{"file": f.file, "line": f.line or None, "key": f.key, "reason": f.reason} for f in faults]
        out(json.dumps({"ok": not faults, "routes": count, "problems": rows, "notes": notes, "access": access}))
    else:
        for row in access:
            if row["needs"]:
                out(f"{row['file']}: {row.get('method', '')} {row['route']}: {row['needs']}".replace("  ", " "))
        for note in notes:
            out(note)
        complain("\n".join(map(str, faults)))
        if not faults:
            out(f"{counted(count, 'route')}: all right.")
    raise typer.Exit(1 if faults else 0)


@app.command()
def routes(
    filter_: Annotated[str, typer.Argument(metavar="[FILTER]", help="Show only rows that contain this text.")] = "",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """The route table: every operation of the folder's and the registered routes."""
    from bridge.cli.offline import table_rows

    settings = settings_of(config)
    rows, faults = run(lambda: table_rows(settings))
    rows = [row for row in rows if filter_.lower() in " ".join(map(str, row.values())).lower()]
    if as_json:
        out(json.dumps(rows))
    elif sys.stdout.isatty():
        show_table(rows, "no routes")
    else:
        for row in rows:
            out("\t".join(map(str, row.values())))
    if faults:
        complain("\n".join(map(str, faults)))
        raise typer.Exit(1)


@app.command()
def openapi(
    host: Annotated[str, typer.Option(help="The document of this public host.")] = "",
    tenant: Annotated[str, typer.Option(help="Only this tenant's routes.")] = "",
    config: ConfigFile = None,
) -> None:
    """The OpenAPI 3.1 document on standard output."""
    from bridge.cli.offline import document

    settings = settings_of(config)
    out(json.dumps(run(lambda: document(settings, host, tenant)), indent=2, ensure_ascii=False))


@app.command()
def explain(
    route: Annotated[
        str, typer.Argument(help="A public path with its query, perhaps after a method: 'GET /v1/a?b=c'.")
    ],
    body: Annotated[
        str, typer.Option("--json", help="The JSON body to translate; @FILE reads one, - standard input.")
    ] = "",
    host: Annotated[str, typer.Option(help="The public host of the call.")] = "",
    header: Annotated[
        list[str] | None, typer.Option(help="A header of the call, 'Name: value'; may be given again.")
    ] = None,
    claims: Annotated[str, typer.Option(help="The claims of the caller's token, as JSON.")] = "",
    config: ConfigFile = None,
) -> None:
    """Show the upstream request that a call would become, secrets masked. Nothing is sent."""
    from bridge.cli.offline import explanation

    settings = settings_of(config)
    with explained():
        data = _body(body)
        headers = [_field(field) for field in header or ()]
        identity = _claims(claims)
    out(run(lambda: explanation(settings, route, data, host, headers, identity)))


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise SettingsError(f"--header: {text!r} is not written 'Name: value'")
    return name.strip().lower(), value.strip()


def _claims(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"--claims: it is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise SettingsError("--claims: it must be a JSON object")
    return value


def _body(text: str) -> bytes:
    try:
        if text == "-":
            return sys.stdin.buffer.read()
        return Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
    except OSError as error:
        raise SettingsError(f"--json: {text[1:]} can't be read: {error.strerror}") from None


@app.command()
def token(
    role: Annotated[list[str] | None, typer.Option(help="A role; may be given again.")] = None,
    tenant: Annotated[str, typer.Option(help="The tenant the holder belongs to.")] = "",
    sub: Annotated[str, typer.Option(help="The holder.")] = "developer",
    audience: Annotated[list[str] | None, typer.Option(help="Who the token is for; may be given again.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A scope; may be given again.")] = None,
    ttl: Annotated[str, typer.Option(help="How long it is valid: 30m, 1h, 7d.")] = "1h",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """A JWT of the local issuer on standard output. A new key pair is told of on standard error."""
    from bridge.admin.credentials import mint_token
    from bridge.cli.gateways import check_home
    from bridge.stages.auth.local_issuer import key_file

    settings = settings_of(config)
    with explained():
        file = key_file(settings)
        is_used = settings.local_issuer == "on"  # otherwise `mint_token` refuses
        note, is_new = check_home(settings, file, "token") if is_used else "", not os.path.exists(file)
        text = mint_token(
            settings, sub=sub, roles=role or [], tenant=tenant, audience=audience or [], scopes=scope or [], ttl=ttl
        )
    if is_new:
        home = settings.home.absolute()
        note = f"A new key pair was made: {file.absolute()}. Only a gateway with BRIDGE_HOME={home} takes its tokens."
    if note:
        console().print(note, markup=False)
    out(json.dumps({"token": text}) if as_json else text)


app.add_typer(
    typer.Typer(cls=ImportCommands, help="Print a route spec for a service that exists.", no_args_is_help=True),
    name="import",
)


key = typer.Typer(help="API keys; only their hashes are stored.", no_args_is_help=True)
app.add_typer(key, name="key")


@key.command("new")
def key_new(
    sub: Annotated[str, typer.Option(help="The holder.")],
    tenant: Annotated[str, typer.Option(help="The tenant the holder belongs to.")] = "",
    role: Annotated[list[str] | None, typer.Option(help="A role; may be given again.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A scope; may be given again.")] = None,
    ttl: Annotated[str, typer.Option(help="How long it is valid; without it, it does not expire.")] = "",
    rps: Annotated[float | None, typer.Option(help="Calls a second that it may make, over all routes.")] = None,
    burst: Annotated[int | None, typer.Option(help="Calls that it may make at once; needs --rps.")] = None,
    label: Annotated[str, typer.Option(help="A short word within the key's text, such as live or test.")] = "",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Make a key and print it. It can't be shown again."""
    from bridge.admin.credentials import new_key
    from bridge.catalog.store import store_file
    from bridge.cli.gateways import check_home

    settings = settings_of(config)
    with explained():
        file = store_file(settings.store, settings.home)
        note = check_home(settings, file, "key") if file is not None else ""
    text, key_id = run(
        lambda: new_key(settings, sub, tenant, role or [], scope or [], ttl, rps=rps, burst=burst, label=label)
    )
    if note:
        console().print(note, markup=False)
    out(json.dumps({"key": text, "id": key_id}) if as_json else text)


@key.command("list")
def key_list(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """List the keys, without their secrets."""
    from bridge.admin.credentials import key_line, list_keys

    settings = settings_of(config)
    rows = run(lambda: list_keys(settings))
    out(json.dumps(rows) if as_json else "\n".join(map(key_line, rows)))


@key.command("rotate")
def key_rotate(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `key list` shows it.")],
    overlap: Annotated[str, typer.Option(help="How long the old key stays valid, 30d at most: 0s, 1h, 7d.")] = "24h",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Make a key in place of another and print it. The old one stays valid for a while."""
    from bridge.admin.credentials import rotated_key

    settings = settings_of(config)
    text, new_id = run(lambda: rotated_key(settings, key_id, overlap))
    out(json.dumps({"key": text, "id": new_id}) if as_json else text)


@key.command("revoke")
def key_revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `key list` shows it.")], config: ConfigFile = None
) -> None:
    """Revoke a key. A running gateway refuses it within a second."""
    from bridge.admin.credentials import revoke_key

    settings = settings_of(config)
    run(lambda: revoke_key(settings, key_id))


def main() -> None:
    """The entry point of ``hms-bridge`` and of ``python -m bridge.cli.main``."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        # Nothing is left to do that another Ctrl-C could spoil, and no traceback is to be seen.
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
