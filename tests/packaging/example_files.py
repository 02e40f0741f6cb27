"""Small examples of the files that a reader of the pages brings."""

import numpy as np
import pandas as pd


def patients():
    """A row for each hour of 40 patients; the pulse of the ill ones rises."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(40):
        ill = number % 2
        for hour in range(int(random.integers(4, 9))):
            pulse = round(72 + 4 * random.normal() + 4 * ill * hour)
            rows.append([f"p{number:02}", hour, pulse, round(120 + 8 * random.normal()), round(96 + random.normal())])
            rows[-1].append("ill" if ill else "well")
    return pd.DataFrame(rows, columns=["patient", "hour", "pulse", "pressure", "oxygen", "outcome"])


def beats():
    """A row for each of 60 heartbeats of 8 steps; the late ones have their peak in the second half."""
    random = np.random.default_rng(1)
    rows = []
    for number in range(60):
        values = 0.2 * random.normal(size=8)
        late = number % 2
        values[int(random.integers(0, 4)) + 4 * late] += 2
        rows.append([*values.round(1).tolist(), "late" if late else "early"])
    return pd.DataFrame(rows, columns=[*(f"t{step}" for step in range(8)), "label"])


def reviews():
    """A row for each of 48 sentences."""
    nouns = ["film", "plot", "cast", "end", "scene", "song"]
    words = [("good", "bad"), ("great", "dull"), ("fine", "weak"), ("moving", "boring")]
    rows = [
        [f"a {word} {noun}", label]
        for noun in nouns
        for pair in words
        for word, label in zip(pair, ("positive", "negative"), strict=True)
    ]
    return pd.DataFrame(rows, columns=["review", "label"])


def weather():
    """A row for each hour of 50 days: a warm index that follows the day and the wind."""
    random = np.random.default_rng(2)
    hours = np.arange(1200)
    wind = random.normal(size=1200).cumsum()
    wind -= np.linspace(wind[0], wind[-1], 1200)
    warm = 10 + 6 * np.sin(hours * 2 * np.pi / 24) - 0.2 * wind + 0.5 * random.normal(size=1200)
    dates = pd.date_range("2025-01-01", periods=1200, freq="h")
    return pd.DataFrame({"date": dates, "warm": warm.round(1), "wind": wind.round(1)})


TABLES = {"patients.csv": patients, "beats.csv": beats, "reviews.csv": reviews, "weather.csv": weather}


def write_tables(folder):
    """Write all tables into a folder."""
    for name, table in TABLES.items():
        table().to_csv(folder / name, index=False)
