"""forebay render: what a source becomes in a cluster, to look at or to apply by hand."""

import click
import yaml
from typing_extensions import override

from forebay import manifest
from forebay_cli import options
from forebay_operator.desired import Platform, desired


@click.command(
    "render",
    epilog=options.examples("""
forebay render -f source.yaml
forebay render -f source.yaml | kubectl apply --server-side --dry-run=server -f -
"""),
)
@options.files()
def command(files: tuple[str, ...]) -> None:
    """Print the Kubernetes objects of a source.

    The operator makes the same, and the Secrets with the broker's address besides.
    """
    objects = [item for source in manifest.load(*files).sources for item in desired(source, Platform())]
    click.echo(yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, explicit_start=True, width=120), nl=False)


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such, and nothing by reference."""

    @override
    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
