"""Where the axes of a tensor come from: the algebra, by worked numbers."""

from dataclasses import replace

import pytest

from keras_cam.graph.place import (
    BATCH,
    Atom,
    Line,
    Place,
    TensorAxis,
    contracted,
    line_axis,
    met,
    placeless,
    reshaped,
    without_line,
)
from keras_cam.graph.place_products import einsum
from keras_cam.graph.place_shapes import meet
from keras_cam.graph.place_slices import slice_of
from keras_cam.graph.receptive_field import Axis, blocks, merged, resized, shifted, sliced, transposed_window, window

ROWS, COLUMNS = Line(0, Axis(8)), Line(1, Axis(6))
ONE = TensorAxis()


def image(channels=3):
    return Place((placeless(BATCH), line_axis(ROWS), line_axis(COLUMNS), placeless(channels)))


def tokens(channels=3, before=0, after=0):
    axis = TensorAxis((Atom(8, ROWS), Atom(6, COLUMNS)), before, after)
    return Place((placeless(BATCH), axis, placeless(channels)))


def latents(count, channels=3):
    """A tensor that has no place, such as learned queries."""
    return Place((placeless(BATCH), placeless(count), placeless(channels)))


# reshapes


def test_a_reshape_joins_rows_and_columns_to_tokens_and_splits_them_again():
    joined = reshaped(image(), (BATCH, 48, 3))
    assert joined == tokens()
    assert joined.lines() == {0: ROWS, 1: COLUMNS}
    assert reshaped(joined, (BATCH, 8, 6, 3)) == image()


def test_a_reshape_that_counts_otherwise_makes_rows_and_columns_one_line_of_parts():
    """48 cells as 4 x 12: rows in pairs, and of each pair the row and the column."""
    parts = reshaped(tokens(), (BATCH, 4, 12, 3))
    assert parts.axes[1].atoms == (Atom(4, ROWS, 2),)
    assert parts.axes[2].atoms == (Atom(2, ROWS, 1), Atom(6, COLUMNS))
    assert parts.lines() == {0: ROWS, 1: COLUMNS}
    assert reshaped(parts, (BATCH, 48, 3)) == tokens()


def test_a_reshape_that_tears_a_row_apart_has_no_place_from_there_on():
    """48 cells as 3 x 16: 8 rows are not a multiple of 3."""
    torn = reshaped(tokens(), (BATCH, 3, 16, 3))
    assert torn.lines() == {} and not any(axis.lines for axis in torn.axes)


def test_what_is_cut_into_blocks_of_mobile_vit_and_put_together_again():
    """4 x P: the pixels of 2 x 2 patches are an axis of their own, the 4 x 3 patches another."""
    split = reshaped(image(), (BATCH, 4, 2, 3, 2, 3))
    ordered = Place(tuple(split.axes[axis] for axis in (0, 2, 4, 1, 3, 5)))
    patches = reshaped(ordered, (BATCH, 4, 12, 3))
    assert patches.axes[1].atoms == (Atom(2, ROWS, 1), Atom(2, COLUMNS, 1))
    assert patches.axes[2].atoms == (Atom(4, ROWS, 2), Atom(3, COLUMNS, 2))
    assert patches.lines() == {0: ROWS, 1: COLUMNS}
    unfolded = reshaped(patches, (BATCH, 2, 2, 4, 3, 3))
    back = Place(tuple(unfolded.axes[axis] for axis in (0, 3, 1, 4, 2, 5)))
    assert reshaped(back, (BATCH, 8, 6, 3)) == image()


def test_heads_are_split_off_the_channels_and_put_back():
    heads = reshaped(tokens(12), (BATCH, 48, 4, 3))
    assert [axis.length for axis in heads.axes] == [BATCH, 48, 4, 3] and heads.axes[1] == tokens().axes[1]
    swapped = Place(tuple(heads.axes[axis] for axis in (0, 2, 1, 3)))
    assert reshaped(swapped, (BATCH * 4, 48, 3)).lines() == {0: ROWS, 1: COLUMNS}


def test_an_axis_of_length_one_comes_and_goes():
    wide = reshaped(image(), (BATCH, 1, 8, 6, 3))
    assert wide.axes[1] == ONE and wide.axes[2:] == image().axes[1:]
    assert reshaped(wide, (BATCH, 8, 6, 3)) == image()


def test_a_line_of_one_cell_is_kept_through_reshapes():
    line = Line(0, Axis(1, 3.5, 8.0, 8.0))
    one_cell = Place((placeless(BATCH), line_axis(line), placeless(3)))
    assert reshaped(one_cell, (BATCH, 3)).lines() == {0: line}
    assert reshaped(one_cell, (BATCH, 3, 1)).lines() == {0: line}


def test_frames_join_the_batch_and_leave_it():
    frames = Line(0, Axis(5))
    film = Place((placeless(BATCH), line_axis(frames), *image().axes[1:]))
    joined = reshaped(film, (BATCH * 5, 8, 6, 3))
    assert joined.axes[0].atoms == (Atom(BATCH), Atom(5, frames))
    assert reshaped(joined, (BATCH, 5, 8, 6, 3)) == film


# sums


def test_a_patch_embedding_by_reshape_and_dense():
    """Patches of 8 x 8 pixels: the first one's centre is pixel 3.5, and they are 8 apart."""
    pixels = Place((placeless(BATCH), line_axis(Line(0, Axis(32))), line_axis(Line(1, Axis(16))), placeless(3)))
    split = reshaped(pixels, (BATCH, 4, 8, 2, 8, 3))
    patches = reshaped(Place(tuple(split.axes[axis] for axis in (0, 1, 3, 2, 4, 5))), (BATCH, 8, 192))
    embedded = contracted(patches, 2, placeless(10))
    lines = embedded.lines()
    assert lines[0].cells == Axis(4, 3.5, 8.0, 8.0) and lines[1].cells == Axis(2, 3.5, 8.0, 8.0)
    assert embedded.shape == (BATCH, 8, 10) and not embedded.axes[2].lines


def test_a_sum_over_a_line_loses_it():
    columns = contracted(image(), 1, ONE)
    assert columns.lines() == {1: COLUMNS}
    assert contracted(tokens(), 1, ONE).lines() == {}


def test_a_sum_over_the_outer_part_of_a_line_loses_all_of_it():
    parts = reshaped(image(), (BATCH, 4, 2, 6, 3))
    assert contracted(parts, 1, ONE).lines() == {1: COLUMNS}
    assert contracted(parts, 2, ONE).lines() == {0: Line(0, Axis(4, 0.5, 2.0, 2.0)), 1: COLUMNS}


def test_a_gram_matrix_has_no_place():
    assert einsum("bic,bid->bcd", [tokens(), tokens()]).lines() == {}
    assert einsum("bhwc,bhwd->bcd", [image(), image()]).lines() == {}


# attention


def seeing(place, rows, columns):
    """The same place whose cells see so many pixels."""
    fields = {0: float(rows), 1: float(columns)}

    def see(atom):
        line = atom.line
        cells = None if line is None else replace(line.cells, field=fields[line.image_axis])
        return atom if line is None else replace(atom, line=replace(line, cells=cells))

    return Place(tuple(replace(axis, atoms=tuple(map(see, axis.atoms))) for axis in place.axes))


def attended(queries, keys):
    scores = einsum("bqc,bkc->bqk", [queries, keys])
    return scores, einsum("bqk,bkc->bqc", [scores, keys])


def test_weights_of_attention_have_the_image_twice_and_what_they_weigh_once():
    scores, result = attended(tokens(), tokens())
    assert scores.lines() == {} and scores.axes[1].lines == scores.axes[2].lines == {0, 1}
    assert result == seeing(tokens(), 8, 6)


def test_queries_keep_their_place_where_keys_are_fewer_or_seen_otherwise():
    """As in PVT, whose keys are pooled, and in CvT, whose queries and keys are convolved otherwise."""
    pooled = Place(
        (placeless(BATCH), TensorAxis((Atom(4, Line(0, blocks(Axis(8), 2))), Atom(6, COLUMNS))), placeless(3))
    )
    convolved = Place(
        (placeless(BATCH), TensorAxis((Atom(8, Line(0, Axis(8, field=3.0))), Atom(6, COLUMNS))), placeless(3))
    )
    assert attended(tokens(), pooled)[1] == seeing(tokens(), 8, 6)
    assert attended(tokens(), convolved)[1] == seeing(tokens(), 10, 6)
    assert attended(pooled, tokens())[1] == seeing(pooled, 8, 6)


def test_learned_latents_have_no_place():
    scores, result = attended(latents(48), tokens())
    assert scores.axes[1] == placeless(48) and scores.axes[2].lines == {0, 1}
    assert result.lines() == {} and not any(axis.lines for axis in result.axes)


def test_tokens_that_attend_to_latents_keep_their_place():
    assert attended(tokens(), latents(7))[1] == tokens()


def test_attention_in_windows_keeps_the_place_in_them():
    """Windows of 4 x 3 in the batch, as in Swin: rows and columns are put together again after it."""
    split = reshaped(image(), (BATCH, 2, 4, 2, 3, 3))
    ordered = Place(tuple(split.axes[axis] for axis in (0, 1, 3, 2, 4, 5)))
    windows = reshaped(ordered, (BATCH * 4, 12, 3))
    _, result = attended(windows, windows)
    assert result == seeing(windows, 4, 3) and set(result.lines()) == {0, 1}


def test_the_importance_of_a_token_is_what_the_class_token_gives_it():
    """Of weights of attention, the row of one query: the keys keep their place."""
    scores, _ = attended(tokens(before=1), tokens(before=1))
    row = Place((scores.axes[0], scores.axes[2]))
    for atom in scores.axes[1].atoms:
        row = without_line(row, atom.line)
    assert row.lines() == {0: ROWS, 1: COLUMNS} and row.axes[1].before == 1


# einsum


@pytest.mark.parametrize(
    ("equation", "ranks", "shape"),
    [
        ("bhwc,cd->bhwd", (4, 2), (BATCH, 8, 6, 3)),
        ("...c,cd->...d", (4, 2), (BATCH, 8, 6, 3)),
        ("...c,...c->...", (4, 4), (BATCH, 8, 6)),
        ("bhwc->bwhc", (4,), (BATCH, 6, 8, 3)),
    ],
)
def test_equations(equation, ranks, shape):
    factors = {4: image(), 2: Place((placeless(3), placeless(3)))}
    result = einsum(equation, [factors[rank] for rank in ranks])
    assert result.shape == shape and result.lines() == {0: ROWS, 1: COLUMNS}


# number by number


def test_what_has_no_place_takes_over_that_of_the_other():
    assert met([line_axis(ROWS), placeless(8)]) == line_axis(ROWS)
    assert met([ONE, line_axis(ROWS)]) == line_axis(ROWS)
    assert met([placeless(8), placeless(8)]) == placeless(8)
    assert meet([tokens(before=1), latents(49)]) == tokens(before=1)


def test_branches_that_meet_are_in_the_middle():
    shifted_rows = Line(0, Axis(8, 1.0, field=3.0))
    (atom,) = met([line_axis(ROWS), line_axis(shifted_rows)]).atoms
    assert atom.line.cells == Axis(8, 0.5, 1.0, 3.0, 1.0)


@pytest.mark.parametrize(
    "other",
    [
        line_axis(Line(1, Axis(8))),
        line_axis(Line(0, sliced(Axis(8), range(7, -1, -1)))),
        line_axis(Line(0, Axis(8), roll=2)),
        TensorAxis((Atom(2, ROWS, 1), Atom(4, ROWS, 2))),
        TensorAxis((Atom(7, Line(0, Axis(7))),), before=1),
    ],
    ids=["columns", "mirrored", "rolled", "in another order", "a token and fewer cells"],
)
def test_places_that_contradict_each_other_are_none(other):
    assert met([line_axis(ROWS), other]) == placeless(8)


# tokens without a place


def test_tokens_in_front_are_counted_and_cut_off():
    axis = tokens(before=1).axes[1]
    assert axis.length == 49 and axis.line is None and tokens(before=1).lines() == {0: ROWS, 1: COLUMNS}
    assert slice_of(axis, slice(1, None), "x") == tokens().axes[1]
    assert slice_of(axis, slice(0, 1), "x") == placeless(1)


def test_registers_behind_are_cut_off_in_two_steps():
    axis = tokens(before=1, after=4).axes[1]
    assert slice_of(axis, slice(None, -4), "x") == tokens(before=1).axes[1]
    assert slice_of(axis, slice(None, -2), "x") == tokens(before=1, after=2).axes[1]


def test_an_axis_with_tokens_is_reshaped_as_a_whole_only():
    kept = reshaped(tokens(12, before=1), (BATCH, 49, 4, 3))
    assert kept.axes[1] == tokens(before=1).axes[1]
    assert reshaped(tokens(before=1), (BATCH, 7, 7, 3)).lines() == {}
    assert reshaped(tokens(before=1), (BATCH, 147)).lines() == {}


# mirrors and rolls


def test_a_flip_is_a_negative_stride():
    flipped = sliced(Axis(8, 3.5, 8.0, 8.0), range(7, -1, -1))
    assert (flipped.offset, flipped.stride) == (59.5, -8.0)
    assert sliced(flipped, range(7, -1, -1)) == Axis(8, 3.5, 8.0, 8.0)


def test_windows_of_a_mirrored_image_run_backwards():
    """Cells 7 .. 0 in blocks of two: 6.5, 4.5, ..."""
    assert blocks(sliced(Axis(8), range(7, -1, -1)), 2) == Axis(4, 6.5, -2.0, 2.0)


def test_blocks_of_a_rolled_line_are_rolled_where_no_block_goes_round_the_edge():
    def embedded(roll):
        line = Place((placeless(BATCH), line_axis(Line(0, Axis(8), roll)), placeless(3)))
        return contracted(reshaped(line, (BATCH, 4, 6)), 2, placeless(5)).lines()

    assert embedded(roll=4) == {0: Line(0, Axis(4, 0.5, 2.0, 2.0), roll=2)}
    assert embedded(roll=3) == {}


# windows


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (window(Axis(8), 3, 2, "same"), Axis(4, 1.0, 2.0, 3.0)),
        (window(Axis(9), 3, 2, "same"), Axis(5, 0.0, 2.0, 3.0)),
        (window(Axis(8), 3, 1, "causal"), Axis(8, -1.0, 1.0, 3.0)),
        (window(Axis(8, 0.5, 2.0, 2.0), 3, 1, "valid"), Axis(6, 2.5, 2.0, 6.0)),
        (transposed_window(Axis(4, 1.5, 4.0, 4.0), 2, 2, "same"), Axis(8, 0.5, 2.0, 4.0)),
        (shifted(Axis(8), -2, 3), Axis(11, -2.0)),
        (resized(Axis(8), 4), Axis(4, 0.5, 2.0)),
        (resized(Axis(4, 1.5, 4.0, 4.0), 8, "bilinear"), Axis(8, 0.5, 2.0, 8.0)),
        (merged([Axis(4, 0.0), Axis(4, 2.0, field=5.0)]), Axis(4, 1.0, 1.0, 5.0, 2.0)),
    ],
)
def test_arithmetic_of_windows(made, expected):
    assert made == expected
