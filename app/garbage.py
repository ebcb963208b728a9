"""How often Python looks for rings of values that only hold each other; all others it frees at once."""

import gc


def collect_seldom() -> None:
    """Called when a process has all it keeps for good, which is then left out of every later look.

    We make values by the thousand (the rows of a release, the forms of a course) and hardly a ring. Looking for rings
    as often as Python does by itself was a sixth of a release's time and more than a third of a long course's.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
