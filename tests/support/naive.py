"""The slow, obviously right definitions, as oracles for the tests.

Everything is a nested list of Python floats, every sum a loop over pixels. A map is H x W, of one
class, and a mask is a map of ones and zeros; a field holds the sums along a ray (or over a box) of
a map; h is half the kernel width, rounded down, so that lines are the energies 1 ... h and h + 1 is
the inside of an object.

EPL: Yin et al., 'Contour-aware Equipotential Learning for Semantic Segmentation'. The other losses,
with their sources, are in the sections below it.
"""

import math

import torch

STRAIGHT = [(-1, 0), (1, 0), (0, -1), (0, 1)]  # up, down, left, right, as (row, column) steps
DIAGONAL = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
STEPS = {'A': STRAIGHT, 'B': DIAGONAL, 'C': STRAIGHT + DIAGONAL}


def as_lists(values):
    """The same numbers as nested lists; lists pass through."""
    return values.tolist() if isinstance(values, torch.Tensor) else values


def pixels_of(values):
    """Every (row, column) of a map, row by row."""
    return [(row, col) for row in range(len(values)) for col in range(len(values[0]))]


def new_map(like, value_of):
    """A map of the shape of `like`, made by asking `value_of(row, col)` at each pixel."""
    return [[value_of(row, col) for col in range(len(like[0]))] for row in range(len(like))]


def without_void(probs, labels, ignore_index):
    """Target mask and predicted map of each class of one image, both 0 at void, and validity.

    Not in the paper, which says nothing of void. A single map is class 1 of a binary task.
    """
    classes = [1] if len(probs) == 1 else range(len(probs))
    valid = new_map(labels, lambda row, col: labels[row][col] != ignore_index)
    targets, maps = [], []
    for prob, k in zip(probs, classes):
        targets.append(
            new_map(labels, lambda row, col: float(valid[row][col] and labels[row][col] == k))
        )
        maps.append(
            new_map(labels, lambda row, col: float(prob[row][col] if valid[row][col] else 0.0))
        )
    return targets, maps, valid


# --- Anisotropic convolution ----------------------------------------------------------------------


def value_at(values, row, col, padding):
    """The value at a pixel that may lie outside: 0 there, or the nearest pixel of the image."""
    height, width = len(values), len(values[0])
    assert padding in ('constant', 'replicate'), padding
    if padding == 'replicate':
        return values[min(max(row, 0), height - 1)][min(max(col, 0), width - 1)]
    inside = 0 <= row < height and 0 <= col < width
    return values[row][col] if inside else 0.0


def ray_sum(values, kernel_size, step, padding):
    """One direction of the anisotropic convolution (EPL, eq. (2)).

    E(p) = sum over j = 0 ... h of  values(p - j * step)
    """

    def energy(row, col):
        total = 0.0
        for j in range(kernel_size // 2 + 1):
            total += value_at(values, row - j * step[0], col - j * step[1], padding)
        return total

    return new_map(values, energy)


def box_sum(values, kernel_size, padding):
    """Standard convolution: eq. (2) of EPL without its splitter, the sum over the whole window."""
    h = kernel_size // 2

    def energy(row, col):
        total = 0.0
        for down in range(-h, h + 1):
            for right in range(-h, h + 1):
                total += value_at(values, row + down, col + right, padding)
        return total

    return new_map(values, energy)


def ray_sums(values, kernel_size, splitter, padding='constant', sc_scale='match'):
    """The fields of a map, one per direction of the splitter (EPL, eq. (2); 'SC': Table III).

    Order: up, down, left, right ('A'); up-left, up-right, down-left, down-right ('B'); all eight
    ('C'). 'SC' has one field; with 'match' its largest energy is h + 1, as for a ray.
    """
    values = as_lists(values)
    if splitter != 'SC':
        return [ray_sum(values, kernel_size, step, padding) for step in STEPS[splitter]]
    assert sc_scale in ('match', 'literal'), sc_scale
    field = box_sum(values, kernel_size, padding)
    if sc_scale == 'literal':
        return [field]
    scale = (kernel_size // 2 + 1) / kernel_size**2
    return [new_map(field, lambda row, col: scale * field[row][col])]


def fields_of(maps, kernel_size, splitter, padding, sc_scale):
    """fields[s][k]: the field of class k in direction s (EPL, eq. (2))."""
    per_class = [ray_sums(one, kernel_size, splitter, padding, sc_scale) for one in maps]
    directions = range(len(per_class[0]))
    return [[per_class[k][s] for k in range(len(maps))] for s in directions]


# --- Point loss -----------------------------------------------------------------------------------


def point_term(differences, norm, class_weight):
    """How far one pixel is off in one direction, from its K energy differences (EPL, eq. (3)).

    'l1', 'l2': weighted mean over the classes of |difference| or of its square.
    'pixel': Euclidean norm over the classes, which is sqrt(K * that mean of squares).
    """
    assert norm in ('l1', 'l2', 'pixel'), norm
    total = 0.0
    for difference, w in zip(differences, class_weight):
        total += w * (abs(difference) if norm == 'l1' else difference**2)
    mean = total / sum(class_weight)
    return math.sqrt(len(differences) * mean) if norm == 'pixel' else mean


def epl_point_loss(
    probs,
    labels,
    ignore_index=255,
    kernel_size=7,
    splitter='A',
    norm='l2',
    padding='replicate',
    sc_scale='match',
    class_weight=None,
    weight=None,
):
    """Point loss (EPL, eq. (3)), as a mean over the valid pixels of the batch and the directions.

    probs: (N, K, H, W). labels, weight: (N, H, W). 0 where nothing is valid or nothing weighs.
    """
    probs, labels, weight = as_lists(probs), as_lists(labels), as_lists(weight)
    class_weight = as_lists(class_weight) or [1.0] * len(probs[0])
    if sum(class_weight) == 0:
        return 0.0

    total, valid_count, direction_count = 0.0, 0, 0
    for n in range(len(probs)):
        targets, maps, valid = without_void(probs[n], labels[n], ignore_index)
        target_fields = fields_of(targets, kernel_size, splitter, padding, sc_scale)
        fields = fields_of(maps, kernel_size, splitter, padding, sc_scale)
        direction_count = len(fields)
        for row, col in pixels_of(valid):
            if not valid[row][col]:
                continue
            valid_count += 1
            pixel_weight = 1.0 if weight is None else weight[n][row][col]
            for s in range(direction_count):
                differences = [
                    fields[s][k][row][col] - target_fields[s][k][row][col] for k in range(len(maps))
                ]
                total += pixel_weight * point_term(differences, norm, class_weight)
    return total / (direction_count * valid_count) if valid_count else 0.0


# --- Line loss ------------------------------------------------------------------------------------


def on_a_line(energy, h):
    """Whether an energy rounds to a level 1 ... h; for whole energies, 1 <= energy <= h."""
    return 0.5 <= energy < h + 0.5


def line_region(target_energies, valid, h):
    """The true line region L: the valid pixels on some line (EPL, Algorithm 1)."""
    return new_map(
        valid, lambda row, col: bool(valid[row][col] and on_a_line(target_energies[row][col], h))
    )


def line_membership(energies, target_energies, valid, kernel_size):
    """The predicted line region Lhat (EPL, eq. (4)).

    As many pixels of the true field are below the first line, so many of the lowest predicted
    energies are passed over; as many lie on lines, so many are taken next.
    """
    energies, target_energies, valid = map(as_lists, (energies, target_energies, valid))
    h = kernel_size // 2
    ascending = [(row, col) for row, col in pixels_of(valid) if valid[row][col]]
    below = sum(target_energies[row][col] < 0.5 for row, col in ascending)
    on_lines = sum(on_a_line(target_energies[row][col], h) for row, col in ascending)
    # Python sorts stably: among equal energies the pixels stay in reading order.
    ascending.sort(key=lambda pixel: energies[pixel[0]][pixel[1]])
    taken = set(ascending[below : below + on_lines])
    return new_map(valid, lambda row, col: (row, col) in taken)


def nearness(energy, tau, mu):
    """d of EPL, Algorithm 1: 1 on the line tau, 1/e one level away whatever mu is."""
    return math.exp(-(abs(energy - tau) ** mu))


def line_edcs(target_energies, energies, valid, h, mu, edc='paper'):
    """{tau: EDC} of one image, class and direction (EPL, Algorithm 1, misprint fixed).

        'paper':    EDC = C * 2 |d dhat| / (|d| + |dhat|)   with   C = |d| / |d d|
        'squared':  EDC = 2 |d dhat| / (|d d| + |dhat dhat|)

    d is 0 outside the true region, dhat outside the predicted one. Levels of which the target
    has no pixel are left out.
    """
    assert edc in ('paper', 'squared'), edc
    true_region = line_region(target_energies, valid, h)
    predicted_region = line_membership(energies, target_energies, valid, 2 * h + 1)
    coefficients = {}
    for tau in range(1, h + 1):
        level_size = 0
        d_sum = dhat_sum = product_sum = d_square_sum = dhat_square_sum = 0.0
        for row, col in pixels_of(valid):
            d = dhat = 0.0
            if true_region[row][col]:
                d = nearness(target_energies[row][col], tau, mu)
                level_size += abs(target_energies[row][col] - tau) <= 0.5
            if predicted_region[row][col]:
                dhat = nearness(energies[row][col], tau, mu)
            d_sum += d
            dhat_sum += dhat
            product_sum += d * dhat
            d_square_sum += d * d
            dhat_square_sum += dhat * dhat
        if level_size == 0:
            continue
        if edc == 'paper':
            c = d_sum / d_square_sum
            coefficients[tau] = c * 2 * product_sum / (d_sum + dhat_sum)
        else:
            coefficients[tau] = 2 * product_sum / (d_square_sum + dhat_square_sum)
    return coefficients


def line_term(target_energies, energies, valid, h, mu, edc='paper'):
    """Sum over the levels of 1 - EDC, for one image, class and direction (EPL, Algorithm 1)."""
    coefficients = line_edcs(target_energies, energies, valid, h, mu, edc)
    return sum((1 - coefficient for coefficient in coefficients.values()), 0.0)


def authors_line_terms(fields, h, mu):
    """{tau: 1 - EDC} of one direction in the form of EPL's published code.

        EDC = 2 (|d dhat| + 1) |d| / ((|d| + |dhat| + 1) |d d|)

    fields: list of (target_energies, energies, valid), one per image and class; all of them share
    one ratio per level. Energies outside the region count as 0, so every such pixel still has a
    little of each level. Levels of which the target has no pixel are left out, unlike in that code.
    """
    regions = [
        (
            line_region(target_energies, valid, h),
            line_membership(energies, target_energies, valid, 2 * h + 1),
        )
        for target_energies, energies, valid in fields
    ]
    terms = {}
    for tau in range(1, h + 1):
        level_size = 0
        d_sum = dhat_sum = product_sum = d_square_sum = 0.0
        for (target_energies, energies, valid), (true_region, predicted_region) in zip(
            fields, regions
        ):
            for row, col in pixels_of(valid):
                if not valid[row][col]:
                    continue
                level_size += abs(target_energies[row][col] - tau) <= 0.5
                d = nearness(target_energies[row][col] if true_region[row][col] else 0.0, tau, mu)
                dhat = nearness(energies[row][col] if predicted_region[row][col] else 0.0, tau, mu)
                d_sum += d
                dhat_sum += dhat
                product_sum += d * dhat
                d_square_sum += d * d
        if level_size > 0:
            ratio = 2 * (product_sum + 1) * d_sum / ((d_sum + dhat_sum + 1) * d_square_sum)
            terms[tau] = 1 - ratio
    return terms


def epl_line_loss(
    probs,
    labels,
    ignore_index=255,
    kernel_size=7,
    splitter='A',
    mu=10,
    edc='paper',
    variant='paper',
    padding='constant',
    sc_scale='match',
    class_weight=None,
):
    """Equipotential line loss (EPL, eq. (4) and Algorithm 1), a mean over the directions.

    'paper': per direction the weighted mean of `line_term` over the (image, class) pairs that
    have a line there; 0 where none has. 'authors': the published code, see `authors_line_terms`;
    edc and class_weight mean nothing there.
    """
    assert variant in ('paper', 'authors'), variant
    probs, labels = as_lists(probs), as_lists(labels)
    class_weight = as_lists(class_weight) or [1.0] * len(probs[0])
    h = kernel_size // 2

    per_image = []  # (target_fields, fields, valid)
    for n in range(len(probs)):
        targets, maps, valid = without_void(probs[n], labels[n], ignore_index)
        per_image.append(
            (
                fields_of(targets, kernel_size, splitter, padding, sc_scale),
                fields_of(maps, kernel_size, splitter, padding, sc_scale),
                valid,
            )
        )

    direction_count = len(per_image[0][0])
    total = 0.0
    for s in range(direction_count):
        if variant == 'authors':
            pooled = [
                (target_fields[s][k], fields[s][k], valid)
                for target_fields, fields, valid in per_image
                for k in range(len(class_weight))
            ]
            total += sum(authors_line_terms(pooled, h, mu).values())
            continue
        weighted_sum = weight_sum = 0.0
        for target_fields, fields, valid in per_image:
            for k, w in enumerate(class_weight):
                has_a_line = any(map(any, line_region(target_fields[s][k], valid, h)))
                if has_a_line:
                    weighted_sum += w * line_term(
                        target_fields[s][k], fields[s][k], valid, h, mu, edc
                    )
                    weight_sum += w
        total += weighted_sum / weight_sum if weight_sum else 0.0
    return total / direction_count


def epl_loss(
    probs,
    labels,
    ignore_index=255,
    kernel_size=7,
    norm='l2',
    mu=10,
    edc='paper',
    variant='paper',
    point_weight=0.02,
    line_weight=0.2,
    **shared,
):
    """Both terms, weighted; `kernel_size` is that of both, or (point, line)."""
    of_point, of_line = kernel_size if isinstance(kernel_size, tuple) else (kernel_size,) * 2
    point = epl_point_loss(probs, labels, ignore_index, of_point, norm=norm, **shared)
    line = epl_line_loss(
        probs, labels, ignore_index, of_line, mu=mu, edc=edc, variant=variant, **shared
    )
    return point_weight * point + line_weight * line


def literal_edc(d, dhat):
    """EDC exactly as lines 9 to 12 of EPL's Algorithm 1 print it; NaN where that is 0 / 0.

    The overlap cancels: what is left is 2 |d| / (|d| + |dhat|)^2, largest for dhat = 0. Nobody
    should train with it; it is here to show why.
    """
    d, dhat = as_lists(d), as_lists(dhat)
    d_norm = sum(map(abs, d))
    dhat_norm = sum(map(abs, dhat))
    product_norm = sum(abs(a * b) for a, b in zip(d, dhat))
    if product_norm == 0:  # line 11 divides by it, line 12 multiplies by it: 0 / 0 in the end
        return math.nan
    iou = product_norm / (d_norm + dhat_norm)  # line 9
    c = d_norm / product_norm  # line 11
    return c * 2 * iou / (d_norm + dhat_norm)  # line 12


# --- Distances ------------------------------------------------------------------------------------


def distance(one, other, metric='euclidean'):
    """From pixel center to pixel center: Euclidean, chessboard or taxicab."""
    down, right = abs(one[0] - other[0]), abs(one[1] - other[1])
    return {
        'euclidean': math.hypot(down, right),
        'chessboard': max(down, right),
        'taxicab': down + right,
    }[metric]


def distance_to(pixel, sites, metric='euclidean'):
    """To the nearest of some pixels; inf if there is none."""
    return min((distance(pixel, site, metric) for site in sites), default=math.inf)


def sides(target, valid):
    """The pixels of a class and those of the other classes; void is on neither side."""
    ours = [pixel for pixel in pixels_of(valid) if target[pixel[0]][pixel[1]]]
    others = [
        (row, col) for row, col in pixels_of(valid) if valid[row][col] and not target[row][col]
    ]
    return ours, others


def weighted_mean(values, weights):
    """0 where nothing weighs."""
    total = sum(weights)
    return sum(value * w for value, w in zip(values, weights)) / total if total else 0.0


# --- Kervadec et al., 'Boundary loss for highly unbalanced segmentation' --------------------------


def signed_distances(target, valid):
    """{pixel: D} of the valid pixels: 1 first outside the class, 0 first inside, -1 second inside.

    0 everywhere where one of the sides is missing.
    """
    ours, others = sides(target, valid)
    if not ours or not others:
        return {pixel: 0.0 for pixel in ours + others}
    return {pixel: distance_to(pixel, ours) for pixel in others} | {
        pixel: 1 - distance_to(pixel, others) for pixel in ours
    }


def kervadec_boundary_loss(
    probs,
    labels,
    ignore_index=255,
    classes=None,
    normalize=None,
    class_weight=None,
    weight=None,
):
    """Mean over the valid pixels of the batch and the chosen classes of probability x distance."""
    assert normalize in (None, 'diag', 'max'), normalize
    probs, labels, weight = as_lists(probs), as_lists(labels), as_lists(weight)
    class_weight = as_lists(class_weight) or [1.0] * len(probs[0])
    numbers = [1] if len(probs[0]) == 1 else range(len(probs[0]))
    chosen = [w if classes is None or k in classes else 0.0 for k, w in zip(numbers, class_weight)]

    total, valid_count = 0.0, 0
    for n in range(len(probs)):
        targets, maps, valid = without_void(probs[n], labels[n], ignore_index)
        valid_count += sum(map(sum, valid))
        for target, prob, w in zip(targets, maps, chosen):
            distances = signed_distances(target, valid)
            unit = 1.0
            if normalize == 'diag':
                unit = math.hypot(len(valid), len(valid[0]))
            elif normalize == 'max':
                unit = max(map(abs, distances.values()), default=1.0) or 1.0
            for (row, col), d in distances.items():
                pixel_weight = 1.0 if weight is None else weight[n][row][col]
                total += w * pixel_weight * prob[row][col] * d / unit
    return total / (valid_count * sum(chosen)) if valid_count and sum(chosen) else 0.0


# --- Gül's thesis, eq. (3.1): the distance-transform loss -----------------------------------------


def nr_map(target, valid, metric='euclidean'):
    """{pixel: q} of a class: 1 at its boundary, 0 at its deepest pixel; 1 where it has no depth."""
    ours, others = sides(target, valid)
    depth = {pixel: distance_to(pixel, others, metric) for pixel in ours}
    if not ours or not others:
        return {pixel: 1.0 for pixel in ours}
    r = {pixel: max(depth.values()) - depth[pixel] for pixel in ours}
    return {pixel: r[pixel] / max(r.values()) if max(r.values()) else 1.0 for pixel in ours}


def distance_transform_loss(
    probs,
    labels,
    ignore_index=255,
    metric='euclidean',
    class_reduction='mean',
    per_image=True,
    class_weight=None,
):
    """Mean over the present (image, class) pairs of 1 - R; with 'sum', over the images, 1 - sum R.

    R = sum of q p over the class / (sum of q + sum of p over the other classes' pixels)
    """
    probs, labels = as_lists(probs), as_lists(labels)
    class_weight = as_lists(class_weight) or [1.0] * len(probs[0])
    sums = []  # [image][class]: (hits, size, present)
    for n in range(len(probs)):
        targets, maps, valid = without_void(probs[n], labels[n], ignore_index)
        sums.append([])
        for target, prob in zip(targets, maps):
            q = nr_map(target, valid, metric)
            _, others = sides(target, valid)
            hits = sum(q[row, col] * prob[row][col] for row, col in q)
            false = sum(prob[row][col] for row, col in others)
            sums[-1].append((hits, sum(q.values()) + false, len(q)))
    if not per_image:
        sums = [[tuple(map(sum, zip(*images))) for images in zip(*sums)]]
    ratios = [
        [(hits / size, w) for (hits, size, present), w in zip(image, class_weight) if present]
        for image in sums
    ]
    if class_reduction == 'sum':
        values = [1 - sum(ratio for ratio, _ in image) for image in ratios if image]
        return weighted_mean(values, [1.0] * len(values))
    pairs = [pair for image in ratios for pair in image]
    return weighted_mean([1 - ratio for ratio, _ in pairs], [w for _, w in pairs])


# --- Karimi & Salcudean, 'Reducing the Hausdorff distance in medical image segmentation' ----------


def predictions(maps, valid, one_vs_rest):
    """A mask per class, 0 at void: what is above 0.5, or the first of a pixel's largest values."""

    def is_predicted(k, row, col):
        column = [one[row][col] for one in maps]
        chosen = column[k] > 0.5 if one_vs_rest else column.index(max(column)) == k
        return float(valid[row][col] and chosen)

    return [new_map(valid, lambda row, col: is_predicted(k, row, col)) for k in range(len(maps))]


def distances_to_the_other_side(mask, valid):
    """{pixel: f} of the valid pixels, 1 on both sides of a boundary; 0 without one."""
    ours, others = sides(mask, valid)
    if not ours or not others:
        return {pixel: 0.0 for pixel in ours + others}
    return {pixel: distance_to(pixel, others) for pixel in ours} | {
        pixel: distance_to(pixel, ours) for pixel in others
    }


def hausdorff_dt_loss(
    probs,
    labels,
    ignore_index=255,
    alpha=2.0,
    absent=False,
    one_sided=False,
    spacing='pixel',
    one_vs_rest=False,
    class_weight=None,
    weight=None,
):
    """Mean over the present (image, class) pairs of the mean over the valid pixels of
    (p - y)^2 (f_y^alpha + f_q^alpha); with `absent`, over those that are predicted too."""
    assert spacing in ('pixel', 'diagonal'), spacing
    probs, labels, weight = as_lists(probs), as_lists(labels), as_lists(weight)
    class_weight = as_lists(class_weight) or [1.0] * len(probs[0])
    values, weights = [], []
    for n in range(len(probs)):
        targets, maps, valid = without_void(probs[n], labels[n], ignore_index)
        unit = math.hypot(len(valid), len(valid[0])) if spacing == 'diagonal' else 1.0
        predicted = predictions(maps, valid, one_vs_rest or len(maps) == 1)
        for y, p, q, w in zip(targets, maps, predicted, class_weight):
            if not (any(map(any, y)) or (absent and any(map(any, q)))):
                continue
            f_y = distances_to_the_other_side(y, valid)
            f_q = distances_to_the_other_side(q, valid)
            total = 0.0
            for row, col in f_y:
                far = (f_y[row, col] / unit) ** alpha
                if not one_sided:
                    far += (f_q[row, col] / unit) ** alpha
                pixel_weight = 1.0 if weight is None else weight[n][row][col]
                total += pixel_weight * (p[row][col] - y[row][col]) ** 2 * far
            values.append(total / len(f_y))
            weights.append(w)
    return weighted_mean(values, weights)


# --- Bokhovkin & Burnaev, 'Boundary Loss for Remote Sensing Imagery Semantic Segmentation' --------


def window_max(values, window):
    """The largest value of the window around each pixel, as far as it lies in the image."""
    reach = window // 2

    def largest(row, col):
        return max(
            values[r][c]
            for r in range(max(0, row - reach), min(len(values), row + reach + 1))
            for c in range(max(0, col - reach), min(len(values[0]), col + reach + 1))
        )

    return new_map(values, largest)


def inner_boundary(values, valid, theta0):
    """pool(1 - x) - (1 - x): where something outside is near; 0 at void."""
    outside = new_map(values, lambda row, col: 1 - values[row][col])
    widened = window_max(outside, theta0)
    return new_map(
        values,
        lambda row, col: widened[row][col] - outside[row][col] if valid[row][col] else 0.0,
    )


def sum_of_products(one, other):
    return sum(one[row][col] * other[row][col] for row, col in pixels_of(one))


def bf1_loss(probs, labels, ignore_index=255, theta0=3, theta=5, per_image=True, class_weight=None):
    """Mean over the (image, class) pairs that have a boundary of 1 - F1."""
    probs, labels = as_lists(probs), as_lists(labels)
    class_weight = as_lists(class_weight) or [1.0] * len(probs[0])
    sums = []  # [image][class]: (|b_p|, |b_p ext b_y|, |b_y|, |b_y ext b_p|)
    for n in range(len(probs)):
        targets, maps, valid = without_void(probs[n], labels[n], ignore_index)
        sums.append([])
        for target, prob in zip(targets, maps):
            b_y = inner_boundary(target, valid, theta0)
            b_p = inner_boundary(prob, valid, theta0)
            sums[-1].append(
                (
                    sum(map(sum, b_p)),
                    sum_of_products(b_p, window_max(b_y, theta)),
                    sum(map(sum, b_y)),
                    sum_of_products(b_y, window_max(b_p, theta)),
                )
            )
    if not per_image:
        sums = [[tuple(map(sum, zip(*images))) for images in zip(*sums)]]
    losses, weights = [], []
    for image in sums:
        for (predicted, predicted_hits, true, true_hits), w in zip(image, class_weight):
            if true > 0:
                precision = predicted_hits / (predicted + 1e-7)
                recall = true_hits / (true + 1e-7)
                losses.append(1 - 2 * precision * recall / (precision + recall + 1e-7))
                weights.append(w)
    return weighted_mean(losses, weights)


# --- Sudre et al., 'Generalised Dice overlap as a deep learning loss function' --------------------


def generalized_dice_loss(
    probs, labels, ignore_index=255, per_image=True, absent='ignore', class_weight=None
):
    """Mean over the images of 1 - 2 sum w |y p| / sum w (|y| + |p|), with w = 1 / |y|^2; a class
    without a pixel has none or, with 'max', the largest. One map p is two, 1 - p and p."""
    assert absent in ('ignore', 'max'), absent
    probs, labels = as_lists(probs), as_lists(labels)
    class_weight = as_lists(class_weight) or [1.0] * len(probs[0])
    if len(probs[0]) == 1:
        class_weight = [1.0, *class_weight]
    sums = []  # [image][class]: (|y p|, |y|, |p|)
    for image, label in zip(probs, labels):
        if len(image) == 1:
            image = [new_map(label, lambda row, col: 1 - image[0][row][col]), image[0]]
        targets, maps, _ = without_void(image, label, ignore_index)
        sums.append(
            [
                (sum_of_products(y, p), sum(map(sum, y)), sum(map(sum, p)))
                for y, p in zip(targets, maps)
            ]
        )
    if not per_image:
        sums = [[tuple(map(sum, zip(*images))) for images in zip(*sums)]]
    losses = []
    for image in sums:
        largest = max((1 / y**2 for _, y, _ in image if y), default=0.0)
        shared = both = counted = 0.0
        for (overlap, y, p), w in zip(image, class_weight):
            w *= 1 / y**2 if y else largest if absent == 'max' else 0.0
            shared += w * overlap
            both += w * (y + p)
            counted += w * y
        if counted:
            losses.append(1 - 2 * shared / both)
    return weighted_mean(losses, [1.0] * len(losses))


# --- Gül's thesis, eq. (2.2) to (2.5): overlaps and cross-entropies -------------------------------


def overlap_loss(
    score,
    probs,
    labels,
    ignore_index,
    smooth,
    per_class=True,
    per_image=True,
    class_weight=None,
    absent=None,
):
    """Mean of 1 - score(|y p|, |y|, |p|), one ratio per class or one for all of them. Of the
    classes the present ones count ('skip') or all that an image could have ('count', by default for
    one map of probabilities)."""
    absent = absent or ('count' if len(probs[0]) == 1 else 'skip')
    assert absent in ('skip', 'count'), absent
    all_count = absent == 'count' or not per_class
    probs, labels = as_lists(probs), as_lists(labels)
    class_weight = as_lists(class_weight) or [1.0] * len(probs[0])
    sums = []  # [image][class]: (|y p|, |y|, |p|, whether it counts)
    for n in range(len(probs)):
        targets, maps, valid = without_void(probs[n], labels[n], ignore_index)
        sums.append(
            [
                (
                    sum_of_products(target, prob),
                    sum(map(sum, target)),
                    sum(map(sum, prob)),
                    sum(map(sum, valid if all_count else target)),
                )
                for target, prob in zip(targets, maps)
            ]
        )
    if not per_class:
        sums = [[tuple(map(sum, zip(*image)))] for image in sums]
    if not per_image:
        sums = [[tuple(map(sum, zip(*images))) for images in zip(*sums)]]
    losses, weights = [], []
    for image in sums:
        for (shared, y, p, counts), w in zip(image, class_weight):
            if counts:
                losses.append(1 - score(shared, y, p, smooth))
                weights.append(w)
    return weighted_mean(losses, weights)


def soft_dice_loss(probs, labels, ignore_index=255, smooth=1.0, **options):
    """Eq. (2.2): (smooth + 2 |y p|) / (smooth + |y| + |p|)."""

    def dice(shared, y, p, smooth):
        return (smooth + 2 * shared) / (smooth + y + p)

    return overlap_loss(dice, probs, labels, ignore_index, smooth, **options)


def jaccard_loss(probs, labels, ignore_index=255, smooth=1.0, **options):
    """Eq. (2.3): (smooth + |y p|) / (smooth + |y| + |p| - |y p|)."""

    def jaccard(shared, y, p, smooth):
        return (smooth + shared) / (smooth + y + p - shared)

    return overlap_loss(jaccard, probs, labels, ignore_index, smooth, **options)


def log_odds_to_log_probability(x):
    """log(1 / (1 + exp(-x))), of large odds too."""
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


def log_likelihoods(logits, label):
    """[(class, log-probability of the label)] of one pixel: of its class in the softmax; one logit
    is for or against class 1."""
    if len(logits) == 1:
        return [(0, log_odds_to_log_probability(logits[0] if label == 1 else -logits[0]))]
    largest = max(logits)
    log_sum = largest + math.log(sum(math.exp(logit - largest) for logit in logits))
    return [(label, logits[label] - log_sum)]


def pixel_mean(cost, logits, labels, ignore_index, class_weight, weight, counts):
    """Mean of cost(log-probability) over the valid pixels that count, weighted by class.

    Pixel weights multiply the terms alone.
    """
    total, total_weight = 0.0, 0.0
    for n in range(len(logits)):
        for row, col in pixels_of(labels[n]):
            label = labels[n][row][col]
            if label == ignore_index or not counts(n, row, col):
                continue
            at_pixel = [logit[row][col] for logit in logits[n]]
            for k, log_probability in log_likelihoods(at_pixel, label):
                pixel_weight = 1.0 if weight is None else weight[n][row][col]
                total += class_weight[k] * pixel_weight * cost(log_probability)
                total_weight += class_weight[k]
    return total / total_weight if total_weight else 0.0


def softmax_focal_loss(logits, labels, ignore_index=255, gamma=2.0, class_weight=None, weight=None):
    """Eq. (2.5): -(1 - q)^gamma log q, q the probability of the true class."""
    logits, labels, weight = as_lists(logits), as_lists(labels), as_lists(weight)
    class_weight = as_lists(class_weight) or [1.0] * len(logits[0])

    def cost(log_q):
        return -((1 - math.exp(log_q)) ** gamma) * log_q

    return pixel_mean(
        cost, logits, labels, ignore_index, class_weight, weight, lambda n, row, col: True
    )


def boundary_band(labels, ignore_index, radius):
    """The pixels at a distance of at most radius - 1 from one with a 4-neighbor of another class;
    void is no class."""
    boundary = [
        (row, col)
        for row, col in pixels_of(labels)
        if labels[row][col] != ignore_index
        and any(
            (row + down, col + right) in set(pixels_of(labels))
            and labels[row + down][col + right] not in (ignore_index, labels[row][col])
            for down, right in STRAIGHT
        )
    ]
    return {pixel for pixel in pixels_of(labels) if distance_to(pixel, boundary) <= radius - 1}


def boundary_weighted_ce_loss(
    logits,
    labels,
    ignore_index=255,
    radius=3,
    boundary_weight=1.0,
    class_weight=None,
    weight=None,
):
    """Cross-entropy plus its mean over the band around the boundaries."""
    logits, labels, weight = as_lists(logits), as_lists(labels), as_lists(weight)
    class_weight = as_lists(class_weight) or [1.0] * len(logits[0])
    bands = [boundary_band(image, ignore_index, radius) for image in labels]

    def mean_where(counts):
        return pixel_mean(
            lambda log_q: -log_q, logits, labels, ignore_index, class_weight, weight, counts
        )

    near = mean_where(lambda n, row, col: (row, col) in bands[n])
    return mean_where(lambda n, row, col: True) + boundary_weight * near


# --- Sun, Luo & Li, 'Boundary Difference Over Union Loss' -----------------------------------------


def boundary_dou_loss(
    probs, labels, ignore_index=255, max_alpha=0.8, per_image=True, class_weight=None
):
    """Mean over the present (image, class) pairs of (Z + S - 2 I) / (Z + S - (1 + alpha) I)."""
    probs, labels = as_lists(probs), as_lists(labels)
    class_weight = as_lists(class_weight) or [1.0] * len(probs[0])
    sums = []  # [image][class]: (C, S, I, Z)
    for n in range(len(probs)):
        targets, maps, valid = without_void(probs[n], labels[n], ignore_index)
        sums.append([])
        for target, prob in zip(targets, maps):
            boundary = 0
            for row, col in pixels_of(target):
                around = [(row + down, col + right) for down, right in STRAIGHT]
                inside = [(r, c) for r, c in around if (r, c) in set(pixels_of(target))]
                if target[row][col] and any(valid[r][c] and not target[r][c] for r, c in inside):
                    boundary += 1
            sums[-1].append(
                (
                    boundary,
                    sum(map(sum, target)),
                    sum_of_products(target, prob),
                    sum_of_products(prob, prob),
                )
            )
    if not per_image:
        sums = [[tuple(map(sum, zip(*images))) for images in zip(*sums)]]
    losses, weights = [], []
    for image in sums:
        for (boundary, area, shared, squares), w in zip(image, class_weight):
            if area > 0:
                alpha = min(max(1 - 2 * boundary / area, 0.0), max_alpha)
                difference = squares + area - 2 * shared
                losses.append(difference / (squares + area - (1 + alpha) * shared))
                weights.append(w)
    return weighted_mean(losses, weights)


# --- Wei, Wang & Huang, 'F3Net': the structure loss -----------------------------------------------


def valid_window(labels, ignore_index, row, col, window):
    """The labels of the valid pixels in a square around a pixel, as far as it lies in the image."""
    reach = window // 2
    rows = range(max(0, row - reach), min(len(labels), row + reach + 1))
    cols = range(max(0, col - reach), min(len(labels[0]), col + reach + 1))
    return [labels[r][c] for r in rows for c in cols if labels[r][c] != ignore_index]


def structure_loss(
    logits,
    labels,
    ignore_index=255,
    window=31,
    gamma=5.0,
    overlap='iou',
    smooth=1.0,
    ce_weight=1.0,
    overlap_weight=1.0,
    one_vs_rest=False,
    class_weight=None,
    weight=None,
):
    """Cross-entropy and overlap, in which each pixel weighs 1 + gamma times the share of pixels
    around it that are of another class; a sigmoid knows its class and the rest alone."""
    logits, labels, weight = as_lists(logits), as_lists(labels), as_lists(weight)
    assert overlap in ('iou', 'dice'), overlap
    num_logits = len(logits[0])
    one_vs_rest = one_vs_rest or num_logits == 1
    classes = [1] if num_logits == 1 else list(range(num_logits))
    class_weight = as_lists(class_weight) or [1.0] * num_logits
    costs, cost_weights, overlaps, overlap_weights = [], [], [], []
    for n in range(len(logits)):
        shared, both, present = ([0.0] * num_logits for _ in range(3))
        for row, col in pixels_of(labels[n]):
            label = labels[n][row][col]
            if label == ignore_index:
                continue
            near = valid_window(labels[n], ignore_index, row, col, window)
            at_pixel = [logit[row][col] for logit in logits[n]]
            log_sum = max(at_pixel) + math.log(sum(math.exp(x - max(at_pixel)) for x in at_pixel))
            for k, x in zip(range(num_logits), at_pixel):
                y = float(label == classes[k])
                if one_vs_rest:
                    others = sum((other == classes[k]) != (label == classes[k]) for other in near)
                    p = math.exp(log_odds_to_log_probability(x))
                    cost = -log_odds_to_log_probability(x if y else -x)
                else:
                    others = sum(other != label for other in near)
                    p = math.exp(x - log_sum)
                    cost = log_sum - x
                w = 1 + gamma * others / len(near)
                shared[k] += w * y * p
                both[k] += w * (y + p)
                present[k] += y
                if y or one_vs_rest:
                    costs.append(cost * (1.0 if weight is None else weight[n][row][col]))
                    cost_weights.append(w * class_weight[k])
        for k in range(num_logits):
            if present[k]:
                i, u = shared[k], both[k] - shared[k]
                dice = (2 * i + smooth) / (both[k] + smooth)
                overlaps.append(1 - ((i + smooth) / (u + smooth) if overlap == 'iou' else dice))
                overlap_weights.append(class_weight[k])
    cross_entropy = weighted_mean(costs, cost_weights)
    return ce_weight * cross_entropy + overlap_weight * weighted_mean(overlaps, overlap_weights)


# --- Wang et al., 'Active Boundary Loss for Semantic Segmentation' --------------------------------

AROUND = [(1, 0), (-1, 0), (0, -1), (0, 1), (-1, 1), (1, 1), (-1, -1), (1, -1)]


def log_distributions(logits, use_sigmoid):
    """[(log p, …)]: one distribution of a softmax, one for and against each class of a sigmoid."""
    if use_sigmoid or len(logits) == 1:
        return [[log_odds_to_log_probability(z), log_odds_to_log_probability(-z)] for z in logits]
    largest = max(logits)
    log_sum = largest + math.log(sum(math.exp(z - largest) for z in logits))
    return [[z - log_sum for z in logits]]


def divergence(these, those):
    """KL(these || those), summed over the distributions."""
    return sum(
        math.exp(p) * (p - q)
        for one, other in zip(these, those)
        for p, q in zip(one, other)
        if math.exp(p) > 0
    )


def changing_pixels(distributions, label, ignore_index, max_share):
    """The pixels at which the prediction changes most, and the pixels around them."""
    height, width = len(label), len(label[0])
    change = {}
    for row, col in pixels_of(label):
        change[row, col] = 0.0
        for v, u in ((row + 1, col), (row, col + 1)):
            in_image = v < height and u < width
            if in_image and ignore_index not in (label[row][col], label[v][u]):
                change[row, col] += divergence(distributions[row, col], distributions[v, u])
    m = 0
    while sum(k > 1e-5 * 1.2**m for k in change.values()) > max_share * height * width:
        m += 1
    core = {pixel for pixel, k in change.items() if k > 1e-5 * 1.2**m}
    return [
        (row, col)
        for row, col in pixels_of(label)
        if any((row + down, col + right) in core for down, right in [*AROUND, (0, 0)])
        and label[row][col] != ignore_index
    ]


def active_boundary_loss(
    logits,
    labels,
    ignore_index=255,
    max_share=0.01,
    max_distance=20,
    label_smoothing=0.2,
    detach=True,
    use_sigmoid=False,
    held=None,
):
    """Mean over the kept pixels of the cross-entropy of their direction, times min(M, d) / d.

    held: logits for all but the kept pixels' own distributions; with `detach` the gradient is that
    of the loss with these held.
    """
    logits, labels = as_lists(logits), as_lists(labels)
    held = logits if held is None else as_lists(held)
    total, kept = 0.0, 0
    for image, image_held, label in zip(logits, held, labels):
        own, others = (
            {
                (row, col): log_distributions([each[row][col] for each in maps], use_sigmoid)
                for row, col in pixels_of(label)
            }
            for maps in (image, image_held)
        )
        valid = {pixel for pixel in own if label[pixel[0]][pixel[1]] != ignore_index}
        boundary = [
            (row, col)
            for row, col in valid
            if any(
                (v, u) in valid and label[v][u] != label[row][col]
                for v, u in ((row + 1, col), (row, col + 1))
            )
        ]
        if not boundary:
            continue
        to_boundary = {pixel: distance_to(pixel, boundary) for pixel in valid}
        for row, col in changing_pixels(others, label, ignore_index, max_share):
            around = [(row + down, col + right) for down, right in [*AROUND, (0, 0)]]
            distances = [to_boundary.get(pixel, math.inf) for pixel in around]
            t = distances.index(min(distances))
            if t == 8:
                continue
            kept += 1
            scores = {}
            for j, (v, u) in enumerate(around[:8]):
                nearest = min(max(v, 0), len(label) - 1), min(max(u, 0), len(label[0]) - 1)
                if nearest in valid:
                    scores[j] = divergence(others[nearest], own[row, col])
            if len(scores) == 1:
                continue
            largest = max(scores.values())
            log_sum = largest + math.log(sum(math.exp(s - largest) for s in scores.values()))
            cost = 0.0
            for j, score in scores.items():
                share = 1 - label_smoothing if j == t else label_smoothing / (len(scores) - 1)
                cost += share * (log_sum - score)
            total += min(to_boundary[row, col], max_distance) / max_distance * cost
    return total / kept if kept else 0.0


# --- SCNP: logits for another loss ----------------------------------------------------------------


def worst_neighbour(logits, label, ignore_index, window, k, row, col):
    """The pixel whose logit of class k takes the place of this one's: of those within
    (window - 1) / 2 rows and columns that are of class k, or not, as this one is, the first with
    the worst logit. With one logit the class is 1. Void stays as it is."""
    classes = [1] if len(logits) == 1 else range(len(logits))

    def is_of_class(pixel):
        return label[pixel[0]][pixel[1]] == classes[k]

    if label[row][col] == ignore_index:
        return row, col
    reach, chosen = window // 2, None
    for pixel in pixels_of(label):
        near = abs(pixel[0] - row) <= reach and abs(pixel[1] - col) <= reach
        void = label[pixel[0]][pixel[1]] == ignore_index
        if not near or void or is_of_class(pixel) != is_of_class((row, col)):
            continue
        value = logits[k][pixel[0]][pixel[1]]
        best = None if chosen is None else logits[k][chosen[0]][chosen[1]]
        if best is None or (value < best if is_of_class((row, col)) else value > best):
            chosen = pixel
    return chosen


def neighbour_penalised(logits, labels, ignore_index=255, window=3):
    """(N, K, H, W) lists of lists: each logit is that of its worst neighbor."""
    logits, labels = as_lists(logits), as_lists(labels)
    penalised = []
    for maps, label in zip(logits, labels):
        penalised.append([])
        for k in range(len(maps)):

            def value(row, col):
                chosen = worst_neighbour(maps, label, ignore_index, window, k, row, col)
                return maps[k][chosen[0]][chosen[1]]

            penalised[-1].append(new_map(label, value))
    return penalised


def class_edges(mask, others, radius):
    """The pixels within `radius` of a class's boundary: of the class from the others, and of the
    others from the class."""
    near = {pixel for pixel in mask if distance_to(pixel, others) <= radius}
    return near | {pixel for pixel in others if distance_to(pixel, mask) <= radius}


def semantic_boundary_loss(logits, labels, ignore_index=255, radius=2, output_stride=1):
    """Cross-entropy of the edges of each class, in cells of `output_stride` pixels, with the
    weight beta at edges; the mean over the images with a valid pixel."""
    losses = []
    for image, label in zip(as_lists(logits), as_lists(labels)):
        targets, _, valid = without_void([label] * len(image), label, ignore_index)
        cells = {
            (row // output_stride, col // output_stride)
            for row, col in pixels_of(label)
            if valid[row][col]
        }
        edges = [
            {
                (row // output_stride, col // output_stride)
                for row, col in class_edges(*sides(target, valid), radius)
            }
            for target in targets
        ]
        if not cells:
            continue
        edge_cells = len(set().union(*edges))
        beta = max((len(cells) - edge_cells) / edge_cells, 1.0) if edge_cells else 1.0
        total = 0.0
        for cell in cells:
            for k in range(len(image)):
                logit = image[k][cell[0]][cell[1]]
                if cell in edges[k]:
                    total -= beta * log_odds_to_log_probability(logit)
                else:
                    total -= log_odds_to_log_probability(-logit)
        losses.append(total / (len(cells) * len(image)))
    return sum(losses) / len(losses) if losses else 0.0


def triangle_smoothed(values, valid, row, col, radius):
    """The mean of the valid pixels, which weigh less the farther away they are; 0 without any."""
    total = weight = 0.0
    for v, u in pixels_of(values):
        down, right = abs(v - row), abs(u - col)
        if valid[v][u] and down <= radius and right <= radius:
            each = (radius + 1 - down) * (radius + 1 - right)
            weight += each
            total += each * values[v][u]
    return total / weight if weight else 0.0


def boundary_strengths(maps, valid, radius):
    """Of one image: {(class, pixel): strength}, in [0, 1], and where a gradient is noticeable."""
    strengths, noticeable = {}, set()
    for k, values in enumerate(maps):
        for row, col in pixels_of(values):
            if not valid[row][col]:
                continue
            above, below, left, right = (
                triangle_smoothed(values, valid, row + v, col + u, radius)
                for v, u in ((-1, 0), (1, 0), (0, -1), (0, 1))
            )
            squared = ((below - above) / 2) ** 2 + ((right - left) / 2) ** 2
            strengths[k, row, col] = math.sqrt(squared + 1e-6) - 1e-3
            if squared > 1e-8:
                noticeable.add((k, row, col))
    largest = max([1e-2, *strengths.values()])
    return {place: each / largest for place, each in strengths.items()}, noticeable


def dual_task_loss(
    logits, labels, ignore_index=255, tau=0.5, radius=4, gumbel=False, one_vs_rest=False
):
    """The difference of the boundaries of a sharpened prediction and of the label, where either
    has one; the mean over the images with a valid pixel. No noise."""
    assert not gumbel
    losses = []
    for image, label in zip(as_lists(logits), as_lists(labels)):
        single = one_vs_rest or len(image) == 1
        probs = [new_map(label, lambda row, col: 0.0) for _ in image]
        for row, col in pixels_of(label):
            at_pixel = [logit[row][col] / tau for logit in image]
            largest = max(at_pixel)
            log_sum = largest + math.log(sum(math.exp(x - largest) for x in at_pixel))
            for k, x in enumerate(at_pixel):
                log_p = log_odds_to_log_probability(x) if single else x - log_sum
                probs[k][row][col] = math.exp(log_p)
        targets, maps, valid = without_void(probs, label, ignore_index)
        if not any(map(any, valid)):
            continue
        pred, near_pred = boundary_strengths(maps, valid, radius)
        true, near_true = boundary_strengths(targets, valid, radius)
        means = [
            sum(abs(pred[place] - true[place]) for place in near) / len(near) if near else 0.0
            for near in (near_pred, near_true)
        ]
        losses.append(sum(means) / 2)
    return sum(losses) / len(losses) if losses else 0.0


def balanced_edge_loss(logits, labels, ignore_index=255):
    """Cross-entropy of one logit for class 1, in which each pixel weighs the share of the pixels of
    the other kind in the batch; the mean over the valid pixels."""
    kinds, costs = [], []
    for image, label in zip(as_lists(logits), as_lists(labels)):
        for row, col in pixels_of(label):
            if label[row][col] != ignore_index:
                kinds.append(label[row][col])
                x = image[0][row][col]
                costs.append(-log_odds_to_log_probability(x if kinds[-1] else -x))
    total = sum(
        cost * sum(other != kind for other in kinds) / len(kinds)
        for kind, cost in zip(kinds, costs)
    )
    return total / len(kinds) if kinds else 0.0


# --- Metrics --------------------------------------------------------------------------------------


def class_mask(labels, valid, k):
    """The pixels of class k; void is not this class, in label and prediction alike."""
    return new_map(labels, lambda row, col: valid[row][col] and labels[row][col] == k)


def masks_of(pred, label, k, ignore_index):
    """The masks of class k, (true, predicted)."""
    valid = new_map(label, lambda row, col: label[row][col] != ignore_index)
    return class_mask(label, valid, k), class_mask(pred, valid, k)


def inner_band(mask, d):
    """X_d: the pixels of X within chessboard distance d of a pixel that is not X, or not there."""

    def near_the_outside(row, col):
        for v in range(row - d, row + d + 1):
            for u in range(col - d, col + d + 1):
                inside = 0 <= v < len(mask) and 0 <= u < len(mask[0])
                if not inside or not mask[v][u]:
                    return True
        return False

    return new_map(mask, lambda row, col: mask[row][col] and near_the_outside(row, col))


def boundary_iou(pred, label, num_classes, widths, ignore_index=255):
    """counts[k][w] = [intersection, union] of the inner bands of class k."""
    pred, label = as_lists(pred), as_lists(label)
    counts = []
    for k in range(num_classes):
        true, predicted = masks_of(pred, label, k, ignore_index)
        counts.append([])
        for d in widths:
            g, p = inner_band(true, d), inner_band(predicted, d)
            both = sum(g[row][col] and p[row][col] for row, col in pixels_of(g))
            either = sum(g[row][col] or p[row][col] for row, col in pixels_of(g))
            counts[k].append([both, either])
    return counts


def true_boundary(label, ignore_index, void_is_boundary):
    """The valid pixels with a 4-neighbor, in the image, of another label."""

    def is_boundary(row, col):
        if label[row][col] == ignore_index:
            return False
        for down, right in STRAIGHT:
            v, u = row + down, col + right
            if not (0 <= v < len(label) and 0 <= u < len(label[0])):
                continue
            if label[v][u] == ignore_index and not void_is_boundary:
                continue
            if label[v][u] != label[row][col]:
                return True
        return False

    return [(row, col) for row, col in pixels_of(label) if is_boundary(row, col)]


def trimap_iou(
    pred, label, num_classes, widths, ignore_index=255, void_is_boundary=False, mode='band'
):
    """counts[k][w] = [intersection, union] of class k in the band nearer than w to the boundary, or
    of `deeplab_trimap_iou`."""
    if mode == 'deeplab':
        return deeplab_trimap_iou(pred, label, num_classes, widths, ignore_index)
    pred, label = as_lists(pred), as_lists(label)
    boundary = true_boundary(label, ignore_index, void_is_boundary)
    counts = [[[0, 0] for _ in widths] for _ in range(num_classes)]
    for row, col in pixels_of(label):
        if label[row][col] == ignore_index or not boundary:
            continue
        squared = min((row - v) ** 2 + (col - u) ** 2 for v, u in boundary)
        for w, width in enumerate(widths):
            if squared < width**2:
                for k in range(num_classes):
                    counts[k][w][0] += label[row][col] == pred[row][col] == k
                    counts[k][w][1] += k in (label[row][col], pred[row][col])
    return counts


def deeplab_trimap_iou(pred, label, num_classes, widths, ignore_index=255):
    """counts[k][w] = [intersection, union] of class k in the valid pixels that have void in the
    square of 2 w + 1 pixels around them, as far as the image goes."""
    pred, label = as_lists(pred), as_lists(label)
    counts = [[[0, 0] for _ in widths] for _ in range(num_classes)]

    def has_void_around(row, col, w):
        for v in range(max(row - w, 0), min(row + w + 1, len(label))):
            for u in range(max(col - w, 0), min(col + w + 1, len(label[0]))):
                if label[v][u] == ignore_index:
                    return True
        return False

    for row, col in pixels_of(label):
        for w, width in enumerate(widths):
            if label[row][col] != ignore_index and has_void_around(row, col, width):
                for k in range(num_classes):
                    counts[k][w][0] += label[row][col] == pred[row][col] == k
                    counts[k][w][1] += k in (label[row][col], pred[row][col])
    return counts


def davis_boundary(mask):
    """seg2bmap of DAVIS: pixels that differ from their east, south or south-east neighbor."""

    def differs(row, col, down, right):
        v, u = row + down, col + right
        return v < len(mask) and u < len(mask[0]) and mask[v][u] != mask[row][col]

    # In the last row and the last column the two other neighbors are not there.
    return [
        (row, col)
        for row, col in pixels_of(mask)
        if differs(row, col, 0, 1) or differs(row, col, 1, 0) or differs(row, col, 1, 1)
    ]


def csurka_boundary(mask):
    """The pixels of a mask with a 4-neighbor, in the image, that is not in it."""

    def is_boundary(row, col):
        for down, right in STRAIGHT:
            v, u = row + down, col + right
            if 0 <= v < len(mask) and 0 <= u < len(mask[0]) and not mask[v][u]:
                return True
        return False

    return [(row, col) for row, col in pixels_of(mask) if mask[row][col] and is_boundary(row, col)]


def share_near(points, others, tolerance):
    """The share of the points with one of the others within the tolerance, that included."""
    near = 0
    for row, col in points:
        near += any(math.sqrt((row - v) ** 2 + (col - u) ** 2) <= tolerance for v, u in others)
    return near / len(points)


def boundary_f(pred, label, num_classes, tolerances, ignore_index=255, mode='present'):
    """scores[k][t]: F of class k in one image; NaN where neither map has a boundary of it."""
    pred, label = as_lists(pred), as_lists(label)
    boundary_of = csurka_boundary if mode == 'csurka' else davis_boundary
    scores = []
    for k in range(num_classes):
        true, predicted = (boundary_of(mask) for mask in masks_of(pred, label, k, ignore_index))
        scores.append([])
        for r in tolerances:
            if not true and not predicted:
                scores[k].append(math.nan)
            elif not true or not predicted:
                scores[k].append(0.0)
            else:
                precision, recall = share_near(predicted, true, r), share_near(true, predicted, r)
                total = precision + recall
                scores[k].append(2 * precision * recall / total if total else 0.0)
    return scores
