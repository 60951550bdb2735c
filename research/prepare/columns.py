"""Which rows are for training, and what they say of each column: words, borders, what is missing."""

from pyspark.sql import functions as F

from research.errors import UserError

EXACT = 1_000_000  # rows whose quantiles are taken; of more, those with the lowest hashes
AT_ONCE = 4_000_000  # cells that approxQuantile keeps in memory in a call
WORDS = 100_000  # of a column at most
SPLITS = ("train", "valid", "test")
MISSING = {"missing": "min", "side": "left"}


def place(purpose, seed, cells):
    """A column in [0, 1) by a hash of cells; each purpose draws anew."""
    return F.shiftrightunsigned(F.xxhash64(F.lit(seed), F.lit(purpose), *cells), 11) * F.lit(2.0**-53)


def divided(frame, request):
    """A typed frame with "split", 0, 1 or 2 by the key or all cells, and "hash", by which rows are ordered."""
    cells = [F.col(name) for name in frame.columns]
    train, valid, test = request.splits
    ends = [train if valid or test else 2.0, train + valid if test else 2.0]
    where = place("split", request.seed, [F.col("key")] if request.key else cells)
    split = sum((where >= end).cast("int") for end in ends)
    return frame.withColumns({"split": split, "hash": F.xxhash64(F.lit(request.seed), F.lit("order"), *cells)})


def learn(frame, types, request):
    """(columns as the manifest has them, classes or None, rows of each split) of a frame of `divided`.

    Words are all of train, in the order of the alphabet (of code points). Borders, where --bins is not 0, are at most
    that many, less one where train has missing values and where unseen words may come: all distinct values but the
    largest where they are few enough, else with n values sorted those at places ceil(i n / (count + 1)) for i = 1 ..
    count, counted from 1 (numpy's "inverted_cdf"), each once and none the largest; beyond a million rows, of about a
    million that a hash of their contents picks. A column of more words than borders is parted evenly in the alphabet.
    Raises UserError for an empty train, a target that is missing somewhere, too many words.
    """
    train, kinds = F.col("split") == 0, [kind for _, kind in types.features]
    cells = [F.when(train, F.col(f"f{i}")) for i in range(len(kinds))]
    sums = [F.approx_count_distinct(cell) for cell in cells] + [F.count(cell) for cell in cells]
    ends = [F.count(F.when(F.col("split") == i, 1)) for i in range(3)]
    found = list(frame.agg(*sums, *ends, F.count(F.col("target") if types.target else F.lit(1))).first())
    rows, distinct, filled = found[-4:-1], found[: len(kinds)], found[len(kinds) : -4]
    if not rows[0]:
        raise UserError(f"no row falls into train, of {sum(rows)}; give more rows, another --seed or other --splits.")
    if found[-1] < sum(rows):
        lost = sum(rows) - found[-1]
        raise UserError(f"{lost} rows have no '{types.target[0]}'; leave them out by --sql='select ... where ...'.")
    lacks = [n < rows[0] or kind == "category" for n, kind in zip(filled, kinds)]  # words may be unseen later
    counts = [max(request.bins - lack, 0) for lack in lacks]
    few = [i for i, n in enumerate(distinct) if kinds[i] == "category" or (request.bins and n <= 2 * counts[i] + 2)]
    for i in few:
        if distinct[i] > WORDS and kinds[i] == "category":
            name = types.features[i][0]
            raise UserError(
                f"column '{name}' has about {distinct[i]} words, above {WORDS}; leave it out or number it, by --sql."
            )
    wordy = types.target and types.target[1] == "category"
    sets = [F.collect_set(cells[i]) for i in few] + [F.collect_set("target")] * bool(wordy)
    sets = [sorted(values) for values in frame.agg(*sets).first()] if sets else []
    values = dict(zip(few, sets))
    for i, words in values.items():
        if kinds[i] == "category" and any("\ufffd" in word for word in words):
            raise UserError(
                f"column '{types.features[i][0]}' has letters that are not of UTF-8; bring the files to UTF-8."
            )
    many = [
        i for i in range(len(kinds)) if i not in values or (kinds[i] == "number" and len(values[i]) > counts[i] + 1)
    ]
    borders = _quantiles(frame, many, counts, rows[0], request.seed) if request.bins else {}
    columns = []
    for i, (name, kind) in enumerate(types.features):
        words = values[i] if kind == "category" else None
        if request.bins and i not in borders:
            levels = range(len(words)) if kind == "category" else values[i]
            borders[i] = _levels(levels, counts[i])
        entry = {"name": name, "kind": kind, "vocabulary": words, "borders": borders.get(i)}
        columns.append(entry | {"missing": rows[0] - filled[i], "has_missing": lacks[i]})
    return columns, sets[-1] if wordy else None, rows


def _levels(levels, count):
    """Borders of few distinct values, ascending: each but the last, or `count` of them, evenly."""
    if len(levels) <= count + 1:
        return [float(level) for level in levels[:-1]]
    return [float(levels[i * len(levels) // (count + 1) - 1]) for i in range(1, count + 1)]


def _quantiles(frame, places, counts, rows, seed):
    """{place: borders} of number columns, from the quantiles of the rows of train."""
    names = [f"f{i}" for i in places]
    sample = frame.where("split = 0")
    if rows > EXACT:
        cells = [F.col(name) for name in frame.columns if name not in ("split", "hash")]
        sample = sample.where(place("sample", seed, cells) < EXACT / rows)
    sample, found = sample.select(names).persist(), {}
    step = max(AT_ONCE // min(rows, EXACT), 1)
    for start in range(0, len(places), step):
        part = places[start : start + step]
        shares = sorted({i / (counts[f] + 1) for f in part for i in range(1, counts[f] + 1)} | {1.0})
        for f, values in zip(part, sample.approxQuantile([f"f{i}" for i in part], shares, 0.0)):
            at = dict(zip(shares, values))
            own = {at[i / (counts[f] + 1)] for i in range(1, counts[f] + 1)} if values else set()
            found[f] = sorted(own - {at.get(1.0)})
    sample.unpersist()
    return found
