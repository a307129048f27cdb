"""A host application's own approval, before and after each picture: python examples/review_by_rule.py

Here a rule decides: no red roofs.
"""

import duogen
from duogen.agent.review import Decision, Proposal


def review(proposal: Proposal) -> Decision:
    """Changes what a step says before it is painted; agrees with everything else."""
    if proposal.when == "before" and "red roof" in proposal.text:
        return Decision(action="edit", text=proposal.text.replace("red", "green"))
    return Decision()


if __name__ == "__main__":
    plan = duogen.load().plan("How do I build a small house with a red roof?", review=review)
    print(plan.text)
    assert "green roof" in plan.text
    print(f"{len(plan.pictures)} pictures, ended by {plan.reason}")
