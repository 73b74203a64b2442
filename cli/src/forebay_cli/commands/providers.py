"""forebay providers: whose signatures are known, how each signs, and where its secret is found."""

import json

import click

from forebay.signatures import described
from forebay.signatures.presets import Preset, preset, presets
from forebay_cli import options


@click.command(
    "providers",
    epilog=options.examples("""
forebay providers
forebay providers shopify
forebay providers -o json | jq -r '.[].name'
"""),
)
@click.argument("name", required=False)
@options.output
def command(name: str | None, output: str) -> None:
    """List the providers whose signatures are known, or explain one.

    For any other provider write HMAC in the manifest and say there how it signs.
    """
    known = [preset(name)] if name else list(presets().values())
    if output == "json":
        click.echo(json.dumps([facts(item) for item in known], indent=2))
    elif name:
        for label, value in facts(known[0]).items():
            text = "\n".join(value) if isinstance(value, list) else value
            if not text:
                continue
            click.echo(f"{label.replace('_', ' '):12}  {text.replace(chr(10), chr(10) + ' ' * 14)}")
    else:
        _list(known)


def facts(known: Preset) -> dict[str, str | list[str]]:
    """What there is to know of a provider."""
    scheme = known.scheme
    return {
        "name": known.name,
        "signature": described.signature(scheme),
        "key": described.key(scheme),
        "clock": described.clock(scheme),
        "event_type": described.event_type(scheme),
        "delivery_id": described.delivery_id(scheme),
        "set_up": known.setup,
        "handshake": [described.handshake(item) for item in known.handshakes],
        "senders": described.senders(known.senders) if known.senders else "",
        "confidence": known.confidence.value,
        "sources": list(known.sources),
        "checked": known.checked.isoformat(),
    }


def _list(known: list[Preset]) -> None:
    wide = max(len(item.name) for item in known)
    click.echo(f"{'NAME':{wide}}  {'CLOCK':8}  {'CONFIDENCE':10}  SIGNATURE")
    for item in known:
        stamp = item.scheme.timestamp
        clock = f"{stamp.tolerance:g} s" if stamp else "-"
        click.echo(f"{item.name:{wide}}  {clock:8}  {item.confidence:10}  {described.signature(item.scheme)}")
