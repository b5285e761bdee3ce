// Where cells lie on the picture, and boxes round what is hot. The same sums as in keras_cam.imaging: resample, boxes.

/**
 * The centre of cell i of an axis lies at offset + stride * i, in pixels of the picture.
 * @typedef {[offset: number, stride: number]} Axis
 *
 * What each pixel of an axis is made of: of the cells `cells[start[k]]` to `cells[start[k + 1] - 1]`, by `shares`.
 * @typedef {{start: Int32Array, cells: Int32Array, shares: Float64Array}} Weights
 *
 * Right and bottom are the first pixels outside.
 * @typedef {{left: number, top: number, right: number, bottom: number}} Box
 */

/**
 * @param {number} length pixels of the axis
 * @param {number} count cells of the axis
 * @param {Axis} axis
 * @param {boolean} smooth linear between the centres; else the nearest cell
 * @returns {Weights}
 */
export function weightsOf(length, count, [offset, stride], smooth) {
  const start = new Int32Array(length + 1);
  const cells = [];
  const shares = [];
  const reach = smooth ? Math.max(1, 1 / Math.abs(stride)) : 1;
  for (let pixel = 0; pixel < length; pixel++) {
    const position = (pixel - offset) / stride;
    const parts = reach > 1 ? averaged(position, count, reach) : smooth ? between(position) : [[nearest(position), 1]];
    for (const [cell, share] of parts) {
      if (share > 0) {
        cells.push(clamp(cell, count));
        shares.push(share);
      }
    }
    start[pixel + 1] = cells.length;
  }
  return { start, cells: Int32Array.from(cells), shares: Float64Array.from(shares) };
}

const nearest = (position) => Math.floor(position + 0.5);
const clamp = (index, count) => Math.min(Math.max(index, 0), count - 1);

function between(position) {
  const below = Math.floor(position);
  return [
    [below, 1 - (position - below)],
    [below + 1, position - below],
  ];
}

/** Several cells a pixel: each by the share of the pixel that it takes; the outermost cells go on. */
function averaged(position, count, reach) {
  const [low, high] = [position - reach / 2, position + reach / 2];
  const parts = [];
  for (let cell = clamp(nearest(low), count); cell <= clamp(nearest(high), count); cell++) {
    const left = cell === 0 ? -Infinity : cell - 0.5;
    const right = cell === count - 1 ? Infinity : cell + 0.5;
    parts.push([cell, Math.max(Math.min(high, right) - Math.max(low, left), 0) / reach]);
  }
  return parts;
}

/**
 * Lay a map over its picture: each cell's value at the cell's centre, edges repeated beyond the outermost centres.
 * A pixel that a value which is not finite has a share in becomes NaN.
 * @param {Float32Array} map h * w values, row by row
 * @param {[number, number]} shape h and w
 * @param {[number, number]} size height and width of the picture
 * @param {[Axis, Axis]} placement of the rows, of the columns
 * @param {boolean} smooth linear in between; else the cells as they are
 * @returns {Float32Array} height * width values
 */
export function place(map, [h, w], [height, width], placement, smooth) {
  const rows = weightsOf(height, h, placement[0], smooth);
  const columns = weightsOf(width, w, placement[1], smooth);
  const lines = new Float64Array(h * width);
  for (let row = 0; row < h; row++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let k = columns.start[x]; k < columns.start[x + 1]; k++) {
        sum += columns.shares[k] * map[row * w + columns.cells[k]];
      }
      lines[row * width + x] = Number.isFinite(sum) ? sum : NaN;
    }
  }
  const placed = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let k = rows.start[y]; k < rows.start[y + 1]; k++) sum += rows.shares[k] * lines[rows.cells[k] * width + x];
      placed[y * width + x] = sum;
    }
  }
  return placed;
}

/**
 * The cell whose centre is nearest to a pixel.
 * @param {number} pixel
 * @param {number} count
 * @param {Axis} axis
 */
export const cellAt = (pixel, count, [offset, stride]) => clamp(nearest((pixel - offset) / stride), count);

/**
 * What a cell sees of the picture; it may reach beyond it. Null where that is not known.
 * @param {[number, number]} cell row and column
 * @param {[Axis, Axis]} placement
 * @param {[number, number]} field height and width
 * @returns {Box | null}
 */
export function fieldOf(cell, placement, field) {
  if (!(field[0] > 0 && field[1] > 0)) return null;
  const [y, x] = placement.map(([offset, stride], axis) => offset + stride * cell[axis] + 0.5);
  return { left: x - field[1] / 2, top: y - field[0] / 2, right: x + field[1] / 2, bottom: y + field[0] / 2 };
}

/**
 * A box round the largest connected part (diagonals count) above a share of the maximum; of parts of one size round
 * the first. Null where nothing is positive.
 * @param {Float32Array} heat
 * @param {[number, number]} size
 * @param {number} threshold
 * @returns {Box | null}
 */
export function largestBox(heat, [height, width], threshold) {
  let peak = 0;
  for (const value of heat) if (value > peak) peak = value;
  if (!(peak > 0)) return null;
  const bound = Math.fround(peak * threshold);
  const open = Uint8Array.from(heat, (value) => (value > bound ? 1 : 0));
  const stack = new Int32Array(height * width);
  let best = null;
  let most = 0;
  for (let first = 0; first < open.length; first++) {
    if (!open[first]) continue;
    const box = { left: width, top: height, right: 0, bottom: 0 };
    let [count, depth] = [0, 0];
    stack[depth++] = first;
    open[first] = 0;
    while (depth > 0) {
      const pixel = stack[--depth];
      const [x, y] = [pixel % width, Math.floor(pixel / width)];
      count++;
      box.left = Math.min(box.left, x);
      box.top = Math.min(box.top, y);
      box.right = Math.max(box.right, x + 1);
      box.bottom = Math.max(box.bottom, y + 1);
      for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, height - 1); row++) {
        for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, width - 1); column++) {
          const near = row * width + column;
          if (open[near]) {
            open[near] = 0;
            stack[depth++] = near;
          }
        }
      }
    }
    if (count > most) [most, best] = [count, box];
  }
  return best;
}

/**
 * Intersection over union of two boxes.
 * @param {Box} a
 * @param {Box} b
 */
export function iou(a, b) {
  const area = (box) => (box.right - box.left) * (box.bottom - box.top);
  const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const shared = Math.max(across, 0) * Math.max(down, 0);
  return shared / (area(a) + area(b) - shared);
}

/** Boxes as they are stored, [left, top, right, bottom]; what is none is left out. */
export function boxesOf(stored) {
  const four = (Array.isArray(stored) ? stored : []).filter((box) => Array.isArray(box) && box.length === 4);
  const boxes = four.map(([left, top, right, bottom]) => ({ left, top, right, bottom }));
  return boxes.filter(
    (box) => Object.values(box).every(Number.isFinite) && box.left < box.right && box.top < box.bottom,
  );
}
