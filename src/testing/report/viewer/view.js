/**
 * What part of the run is in view, where its parts lie on the canvas, and what is hidden.
 *
 * @typedef {object} View
 * @property {number} from Ticks at the left edge, right of the names.
 * @property {number} to Ticks at the right edge.
 * @property {number} width Of the canvas, in CSS pixels.
 * @property {number} height
 * @property {number} lead Width of the names.
 * @property {number} faultTop
 * @property {number[]} laneTop By lane: where its strips begin.
 * @property {number[]} laneBottom
 * @property {number} stripHeight
 * @property {number} workTop Where the rows of operations begin.
 * @property {number} workHeight Of one such row.
 * @property {boolean[]} isKindShown By kind of message.
 * @property {boolean} isLostOnly
 * @property {number} partition The partition whose messages are shown; 0 for all.
 * @property {number | undefined} cursor Ticks under the pointer or the keyboard's cursor.
 * @property {Hit | undefined} hit What is under the pointer.
 */

const rulerHeight = 26;
const faultRowHeight = 15;
const clientLaneHeight = 12;
/** Lanes of clients lie nearer together. */
const clientStep = 0.45;
/** No view is shorter than half a millisecond. */
const spanTicksMin = 8;

/**
 * @param {Run} run
 * @returns {View}
 */
function createView({ picture }) {
  return {
    from: 0,
    to: picture.endTicks,
    width: 0,
    height: 0,
    lead: 92,
    faultTop: 0,
    laneTop: [],
    laneBottom: [],
    stripHeight: 0,
    workTop: 0,
    workHeight: 0,
    isKindShown: picture.kinds.map(({ group }) => group !== 'heartbeat'),
    isLostOnly: false,
    partition: 0,
    cursor: undefined,
    hit: undefined,
  };
}

/**
 * Lays everything out for a canvas of a width; the lanes share the height that is wished for, and get at least what they need.
 * @param {Run} run
 * @param {View} view
 * @param {{ readonly width: number, readonly height: number }} wished
 */
function layOut({ picture, faultRows, workers }, view, wished) {
  const { lanes, partitions } = picture;
  const nodes = lanes.filter(({ type }) => type === 'node').length;
  view.width = wished.width;
  view.faultTop = rulerHeight + 4;
  view.stripHeight = partitions.length === 1 ? 18 : 12;
  view.workHeight = 7;
  const laneHeight = view.stripHeight * partitions.length;
  const clients = lanes.length - nodes;
  let top = view.faultTop + faultRows * faultRowHeight + 16;
  const below = (clients > 0 ? clientLaneHeight : laneHeight) + 28 + workers * view.workHeight;
  const steps = Math.max(1, nodes - 1 + clients * clientStep);
  const step = Math.max(laneHeight + 46, (wished.height - top - below) / steps);
  lanes.forEach(({ type }, lane) => {
    const height = type === 'node' ? laneHeight : clientLaneHeight;
    const before = lane === 0 ? top : view.laneBottom[lane - 1];
    if (lane > 0) top = Math.max(before + 18, top + step * (type === 'node' ? 1 : clientStep));
    view.laneTop[lane] = top;
    view.laneBottom[lane] = top + height;
  });
  view.workTop = (view.laneBottom.at(-1) ?? top) + 12;
  view.height = view.workTop + workers * view.workHeight + 16;
}

/**
 * @param {View} view
 * @param {number} ticks
 */
function xOf(view, ticks) {
  return view.lead + ((ticks - view.from) * (view.width - view.lead)) / (view.to - view.from);
}

/**
 * @param {View} view
 * @param {number} x
 */
function ticksAt(view, x) {
  return view.from + ((x - view.lead) * (view.to - view.from)) / (view.width - view.lead);
}

/**
 * Shows a stretch, within the run and no shorter than is useful.
 * @param {Run} run
 * @param {View} view
 * @param {{ readonly from: number, readonly to: number }} wished
 */
function showSpan({ picture }, view, { from, to }) {
  const margin = picture.endTicks * 0.005;
  const total = picture.endTicks + margin;
  const span = Math.min(total, Math.max(spanTicksMin, to - from));
  const middle = (from + to) / 2;
  view.from = Math.min(Math.max(0, middle - span / 2), total - span);
  view.to = view.from + span;
}

/**
 * Zooms by a factor (below 1 is nearer) around an instant that keeps its place.
 * @param {Run} run
 * @param {View} view
 * @param {{ readonly factor: number, readonly around: number }} zoom
 */
function zoomBy(run, view, { factor, around }) {
  const span = Math.min(
    run.picture.endTicks * 1.005,
    Math.max(spanTicksMin, (view.to - view.from) * factor),
  );
  const share = (around - view.from) / (view.to - view.from);
  const from = around - share * span;
  showSpan(run, view, { from, to: from + span });
}

/**
 * Whether the filters let a message through.
 * @param {Run} run
 * @param {View} view
 * @param {number} message
 */
function isMessageShown({ messages, picture }, view, message) {
  const kind = messages.kind[message];
  if (!view.isKindShown[kind]) return false;
  if (view.isLostOnly && messages.fate[message] !== 1) return false;
  if (view.partition === 0 || picture.kinds[kind].fields[0]?.name !== 'partition') return true;
  return messages.values[messages.offset[message]] === view.partition;
}

/**
 * Calls `visit` for each message that passes the filters and reaches into view, in order of sending.
 * @param {Run} run
 * @param {View} view
 * @param {(message: number) => void} visit
 */
function eachMessageInView(run, view, visit) {
  const { messages } = run;
  const end = firstAtOrAfter(messages.start, view.to);
  for (let at = 0; at < end; at++) {
    if (at % blockLength === 0 && messages.blockEnd[at / blockLength] < view.from) {
      at += blockLength - 1;
      continue;
    }
    if (messages.end[at] < view.from) continue;
    if (isMessageShown(run, view, at)) visit(at);
  }
}

/**
 * Where the line of a message begins and ends. A lost one ends on its way.
 * @param {Run} run
 * @param {View} view
 * @param {number} message
 */
function lineOf({ messages }, view, message) {
  const from = messages.from[message];
  const to = messages.to[message];
  const isDown = to > from;
  const x1 = xOf(view, messages.start[message]);
  const y1 = isDown ? view.laneBottom[from] : view.laneTop[from];
  const x2 = xOf(view, messages.end[message]);
  const y2 = isDown ? view.laneTop[to] : view.laneBottom[to];
  if (messages.fate[message] === 0) return { x1, y1, x2, y2 };
  // Nobody knows where on its way it was lost; a stroke that stands still for long ends near its sender.
  const share = 0.7;
  return { x1, y1, x2: Math.min(x2, x1 + 160), y2: y1 + (y2 - y1) * share };
}
