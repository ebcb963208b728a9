"""What each process that answers requests runs."""

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait

from fastapi import FastAPI

from app import logs, main
from app.garbage import collect_seldom
from app.settings import Settings


def application() -> FastAPI:
    logs.set_up(Settings())
    logs.guard_process()
    _end_with_launcher()
    app = main.from_environment()
    collect_seldom()
    return app


def _end_with_launcher() -> None:
    """A worker whose launcher was killed would hold the port against the next start, with nobody to answer to."""
    launcher = multiprocessing.parent_process()
    if launcher is None:  # the launcher itself answers: there is one process in all
        return

    def watch() -> None:
        wait([launcher.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="tidemark-launcher-watch").start()
