"""Asks the person at the terminal, before and after each picture, what is to be done."""

from __future__ import annotations

import sys

from duogen.agent.review import Action, Decision, Proposal
from duogen.errors import InputError

KEYS: dict[str, Action] = {
    "": "accept", "y": "accept", "r": "repaint", "e": "edit", "i": "insert", "d": "delete", "s": "stop",
}  # fmt: skip
WORDS = {
    "before": {
        "accept": "Enter paint it", "edit": "e edit the step", "insert": "i insert one before", "delete": "d delete it", "stop": "s stop",
    },
    "after": {
        "accept": "Enter keep it", "repaint": "r paint again", "edit": "e edit the step", "insert": "i insert one behind",
        "delete": "d delete it", "stop": "s stop",
    },
}  # fmt: skip


def ask(proposal: Proposal) -> Decision:
    """Reads a decision from standard input; questions go to stderr.

    Raises:
        InputError: the input has ended; the run waits for the decision.
    """
    offered = ", ".join(WORDS[proposal.when][action] for action in proposal.actions)
    if proposal.when == "before":
        print(file=sys.stderr)
    while True:
        answer = _read(f"picture {proposal.index}? {offered}: ").lower()
        action = KEYS.get(answer)
        if action not in proposal.actions:
            print("duogen: one of the letters, or Enter alone", file=sys.stderr)
            continue
        if action not in ("edit", "insert"):
            return Decision(action=action)
        text = _read(f"the step's text (now: {proposal.text}): " if action == "edit" else "the new step's text: ")
        if text:
            return Decision(action=action, text=text)


def _read(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        print(file=sys.stderr)
        raise InputError("no answer; the plan waits for it, go on with: duogen plan --review -c FOLDER")
    return line.strip()
