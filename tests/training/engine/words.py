"""What the pages that tests write are about."""

VERBS = [
    "Loosen", "Clean", "Measure", "Cut", "Fold", "Attach", "Tighten", "Sand", "Paint", "Rinse", "Soak", "Trim",
    "Press", "Drill", "Stir", "Glue", "Mark", "Wrap", "Peel", "Lift", "Heat", "Align", "Brush", "Knead",
]  # fmt: skip
THINGS = [
    "wooden frame", "copper pipe", "paper lantern", "bicycle chain", "clay pot", "cotton cloth", "garden hose",
    "window hinge", "leather strap", "tomato seedling", "oak shelf", "guitar string", "bread dough", "lamp cord",
    "brass handle", "wool sock", "fishing reel", "candle wick", "door lock", "kite tail", "stone path",
    "water filter", "picture rail", "sewing needle", "rubber seal", "tin roof", "honey comb", "bird feeder",
    "metal bracket", "silk ribbon",
]  # fmt: skip
TOOLS = [
    "flat brush", "small chisel", "damp sponge", "steel ruler", "soft hammer", "sharp knife", "wide tray",
    "cork block", "long screw", "wire brush", "warm iron", "thin needle",
]  # fmt: skip
PLACES = [
    "left corner", "upper edge", "middle seam", "lower hinge", "outer ring", "inner rim", "back panel", "front face",
    "second groove", "narrow gap",
]  # fmt: skip
WHYS = [
    "Otherwise the surface dries unevenly and cracks later.", "This keeps the parts from slipping while you work.",
    "A second pair of hands makes this much easier.", "Take your time, since a mistake here shows in the end.",
    "If it resists, wait a little and try again with less force.",
    "The colour turns slightly darker when it is ready.", "Never use oil for this, as it would spoil the finish.",
    "You can leave it overnight when the air is damp.",
]  # fmt: skip
