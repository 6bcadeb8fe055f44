"""Ranks the pictures of a sweep by eye: pairs to judge, a Bradley–Terry ranking.

    python -m experiments.rank results/runs/regularizer_search --top=40
    python -m experiments.rank results/runs/regularizer_search --export

Opens a page that only this machine can reach. Every answer is saved at once; Ctrl-C
ends, and the same command goes on. ranking.csv and preference.csv are in the folder.
"""

import webbrowser

from absl import flags

from dreamjax.cli import launch
from dreamjax.interrupt import stop_requests
from dreamjax.judgments import LOG, Session, candidates, correlations, open_log
from dreamjax.paths import given_path
from dreamjax.report.rank_server import make_server, rank_page

PORT = flags.DEFINE_integer("port", 0, "Port on 127.0.0.1; 0 takes a free one.")
TOP = flags.DEFINE_integer("top", 0, "Only so many runs, the best by score; 0: all.")
SEED = flags.DEFINE_integer("seed", 0, "Of the order of the pairs.", lower_bound=0)
OPEN = flags.DEFINE_bool("open", True, "Open the page in a browser.")
EXPORT = flags.DEFINE_bool("export", False, "Only write the ranking.")

POLL = 0.2  # seconds until a signal is noticed


def main(arguments: list[str]) -> int:
    """Serves the page until Ctrl-C; returns the exit status."""
    if len(arguments) != 1:
        raise ValueError("give one finished sweep: python -m experiments.rank RUN")
    workdir = given_path("RUN", arguments[0])
    rows = candidates(workdir, TOP.value)
    if EXPORT.value:
        if not (workdir / LOG).exists():
            raise ValueError(f"workdir={str(workdir)!r} has no {LOG}: judge first.")
        return finish(Session(workdir, rows, None, SEED.value))
    with open_log(workdir) as log:
        session = Session(workdir, rows, log, SEED.value)
        title = f"{workdir.absolute().name}: {len(rows)} pictures"
        server, address = make_server(session, rank_page(title), PORT.value)
        with server:
            print(f"{address}\nCtrl-C ends; what is answered is saved.", flush=True)
            if OPEN.value:
                webbrowser.open(address)
            server.timeout = POLL
            with stop_requests(raises=False) as stop:
                while not stop:
                    server.handle_request()
        return finish(session)


def finish(session: Session) -> int:
    """Writes the ranking and prints what it agrees with; returns the exit status."""
    judged = int((session.ranking.judgments > 0).sum())
    print(f"{len(session.judgments)} judgments of {judged} runs")
    for kind, name, rho, runs in correlations(session.rows, session.ranking):
        if kind == "metric":
            print(f"  rank correlation with {name}: {rho:+.2f} ({runs} runs)")
    for name, path in session.export().items():
        print(f"{name:10} {path}")
    return 0


if __name__ == "__main__":
    launch(main)
