"""The command `mainspring`: the table of commands. How they end is in `exits`, and where the process begins `entry`."""

import click

from mainspring.cli.exits import exit_code_of
from mainspring.cli.lazy import LazyGroup

__all__ = ["COMMANDS", "main", "mainspring"]

#: name -> (module, one line of help). The help stands here so that `mainspring --help` imports no command.
COMMANDS: dict[str, tuple[str, str]] = {
    "alias": ("alias", "move aliases, undo moves, and say who may move them"),
    "approve": ("models", "agree that a model version may serve"),
    "audit": ("audit", "read the audit log and verify its chain"),
    "bench": ("bench", "load a model's prediction server and print how fast it answers"),
    "cache": ("cache", "audit, list and clear the kept results of steps"),
    "comment": ("models", "say something of a model version"),
    "data": ("data", "version, pin, compare, describe and check datasets"),
    "demo": ("demo", "live one model's year on real flights: decay, retraining, canary, rollback"),
    "deps": ("deps", "try newer libraries on a model before they are installed"),
    "doctor": ("doctor", "say what is ready, what is missing, and the command that mends it"),
    "export": ("export", "print the manifests that run a pipeline on Kubernetes or Argo"),
    "features": ("features", "join features as of a moment, and keep them online"),
    "gc": ("gc", "erase deleted runs for good, and free the bytes that nothing names"),
    "graph": ("graph", "show the graph of a run, or of a pipeline without running it"),
    "import": ("arrive", "bring runs from MLflow, W&B and TensorBoard"),
    "incidents": ("incidents", "list, show, assign and close incidents; draft a post-mortem"),
    "init": ("project", "make a project that runs, with its tests and a notebook"),
    "key": ("key", "make an API key for the prediction server"),
    "logs": ("logs", "show what the steps of a run printed and logged"),
    "models": ("models", "list model versions, their aliases and gates"),
    "monitor": ("monitor", "look at production once and say what is seen"),
    "partitions": ("partitions", "list how each partition of a pipeline stands"),
    "plan": ("plan", "say what a run would do, and why, before anything runs"),
    "predict": ("predict", "score a file with a model"),
    "prometheus": ("prometheus", "write alert rules with their tests for a Prometheus"),
    "promote": ("models", "make a model version champion"),
    "reproduce": ("reproduce", "make a run or a model version again and say how far it is the same"),
    "review": ("review", "answer what came true of doubtful and sampled predictions"),
    "roles": ("access", "list roles, and keep roles of your own"),
    "rollback": ("models", "make the champion before this one champion again"),
    "rollout": ("rollout", "give a version a share of the traffic, and see what comes of it"),
    "run": ("run", "run a loop or a pipeline once"),
    "runs": ("runs", "list runs with their parameters and metrics"),
    "schedule": ("schedule", "run loops and pipelines by the clock"),
    "serve": ("serve", "answer predictions over HTTP"),
    "server": ("server", "serve tracking and registry over HTTP, to MLflow's clients and our own"),
    "sql": ("sql", "ask about runs and metrics in SQL, read-only"),
    "staleness": ("staleness", "say how fast a model ages, and what retraining is worth"),
    "status": ("status", "say how every model stands, in a table or as a page to publish"),
    "store": ("store", "back up the metadata database, and prove that it is whole"),
    "timeline": ("timeline", "tell what happened, in order"),
    "tokens": ("access", "make, list and revoke tokens"),
    "up": ("up", "keep a loop running: prediction server, control server and scheduler in one go"),
    "users": ("access", "keep users, their roles and passwords"),
    "webhooks": ("webhooks", "tell other programs, chats and people what happens"),
    "why": ("why", "explain one prediction: request, model, run, data, approver"),
}


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from mainspring import __version__

        click.echo(f"mainspring {__version__}")
        context.exit()


@click.group(
    cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
)
def mainspring() -> None:
    """Wind it once; it keeps your models running.

    \b
    Example:
      mainspring init churn && cd churn && mainspring run loop.py && mainspring models
    """


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; the entry point `mainspring` exits with it."""
    return exit_code_of(lambda: _run(arguments))


def _run(arguments: list[str] | None) -> object:
    try:
        return mainspring.main(args=arguments, prog_name="mainspring", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        return 130
