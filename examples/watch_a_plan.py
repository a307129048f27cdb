"""Shows a plan as it is being made: python examples/watch_a_plan.py "Build a green tower." """

import sys

import duogen
from duogen.agent.events import DenoisingStep, Event, Finished, PictureDone, TextDelta


def watch(event: Event) -> None:
    """Prints each event as it comes."""
    match event:
        case TextDelta(text):
            print(text, end="", flush=True)
        case DenoisingStep(index, step, steps) if step == steps:
            print(f"\n[picture {index}: {steps} steps]")
        case PictureDone(index=index, part=part, seconds=seconds):
            print(f"[picture {index}: {part.width} x {part.height} pixels, {seconds:.1f} s, shows: {part.alt}]")
        case Finished(reason, pictures):
            print(f"\n{pictures} pictures, ended by {reason}")


if __name__ == "__main__":
    request = sys.argv[1] if len(sys.argv) > 1 else "How do I build a small green tower?"
    duogen.load().plan(request, on_event=watch)
