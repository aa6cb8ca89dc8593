/**
 * The picture itself: ruler, faults, lanes, messages, operations. It is painted anew when the view changes; what follows the
 * pointer lies on a canvas of its own above it (`hover.js`).
 *
 * Level of detail: when more messages are in view than lines are useful, one line stands for all of one direction and group
 * within a few pixels. Lost messages are thinned apart from the others, so that none hides behind a delivered one.
 *
 * @typedef {Readonly<Record<string, string>>} Palette
 * @typedef {object} Stage
 * @property {CanvasRenderingContext2D} context
 * @property {Run} run
 * @property {View} view
 * @property {Palette} palette
 */

/** Lines of messages that are drawn before they are thinned out. */
const linesMax = 3_000;
/** Heads of arrows are drawn for so many lines at most. */
const headsMax = 1_500;
const groups = ['heartbeat', 'link', 'client', 'append', 'vote'];
const font = '11px system-ui, sans-serif';

/** @returns {Palette} */
function readPalette() {
  const style = getComputedStyle(document.documentElement);
  /** @type {Record<string, string>} */
  const palette = {};
  const names = ['paper', 'ink', 'faint', 'line', 'band', 'follower', 'preCandidate', 'candidate'];
  names.push('leader', 'down', 'paused', 'starting', 'lost', 'fault', 'ok', 'fail', 'info');
  names.push('onLeader', 'onCandidate', 'violation');
  for (const name of [...names, ...groups])
    palette[name] = style.getPropertyValue(`--${name}`).trim();
  return palette;
}

/**
 * Paints everything but what follows the pointer.
 * @param {Stage} stage
 * @returns {{ readonly inView: number, readonly drawn: number }} Messages in view, and lines drawn for them.
 */
function paint(stage) {
  const { context, view, palette } = stage;
  context.fillStyle = palette.paper;
  context.fillRect(0, 0, view.width, view.height);
  context.font = font;
  context.textBaseline = 'middle';
  paintRuler(stage);
  context.save();
  context.beginPath();
  context.rect(view.lead, rulerHeight, view.width - view.lead, view.height);
  context.clip();
  const drawn = paintMessages(stage);
  paintBands(stage);
  paintStrips(stage);
  paintLives(stage);
  paintEvents(stage);
  paintFaults(stage);
  paintOperations(stage);
  paintInstants(stage);
  context.restore();
  paintNames(stage);
  return drawn;
}

/**
 * A step between marks of the ruler that leaves room for their texts: 1, 2 or 5 times a power of ten.
 * @param {number} milliseconds What is in view.
 * @param {number} marks
 */
function rulerStepMs(milliseconds, marks) {
  const least = milliseconds / Math.max(1, marks);
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= least) ?? 10;
  return step * power;
}

/** @param {Stage} stage */
function paintRuler({ context, run, view, palette }) {
  const { ticksPerMs } = run.picture;
  const stepMs = rulerStepMs((view.to - view.from) / ticksPerMs, (view.width - view.lead) / 90);
  const digits = Math.max(0, -Math.floor(Math.log10(stepMs)));
  context.fillStyle = palette.faint;
  context.strokeStyle = palette.line;
  context.textAlign = 'center';
  context.beginPath();
  const first = Math.ceil(view.from / ticksPerMs / stepMs);
  for (let mark = first; mark * stepMs * ticksPerMs <= view.to; mark++) {
    const x = Math.round(xOf(view, mark * stepMs * ticksPerMs)) + 0.5;
    context.moveTo(x, rulerHeight - 5);
    context.lineTo(x, view.height);
    const text =
      stepMs >= 100
        ? `${((mark * stepMs) / 1000).toFixed(stepMs >= 1000 ? 0 : 1)} s`
        : `${(mark * stepMs).toFixed(digits)} ms`;
    context.fillText(text, x, 11);
  }
  context.lineWidth = 1;
  context.stroke();
}

/** @param {Stage} stage */
function paintBands({ context, run, view, palette }) {
  context.fillStyle = palette.band;
  run.picture.lanes.forEach((_, lane) => {
    context.fillRect(
      view.lead,
      view.laneTop[lane],
      view.width - view.lead,
      view.laneBottom[lane] - view.laneTop[lane],
    );
  });
}

/**
 * The messages to draw, thinned out when there are too many.
 * @param {Stage} stage
 */
function messagesToDraw({ run, view }) {
  const { picture, messages } = run;
  let inView = 0;
  eachMessageInView(run, view, () => inView++);
  const columnWidth = inView <= linesMax ? 0 : Math.ceil(inView / linesMax);
  /** @type {Record<string, { delivered: number[], lost: number[] }>} */
  const byGroup = {};
  for (const group of groups) byGroup[group] = { delivered: [], lost: [] };
  const newestColumn = new Map();
  let drawn = 0;
  eachMessageInView(run, view, (message) => {
    const { group } = picture.kinds[messages.kind[message]];
    const isLost = messages.fate[message] === 1;
    if (columnWidth > 0) {
      const ends = messages.from[message] * 64 + messages.to[message];
      const key = (ends * 8 + groups.indexOf(group)) * 2 + (isLost ? 1 : 0);
      const column = Math.floor(xOf(view, messages.start[message]) / columnWidth);
      if (newestColumn.get(key) === column) return;
      newestColumn.set(key, column);
    }
    byGroup[group][isLost ? 'lost' : 'delivered'].push(message);
    drawn++;
  });
  return { byGroup, inView, drawn };
}

/** @param {Stage} stage */
function paintMessages(stage) {
  const { context, palette } = stage;
  const { byGroup, inView, drawn } = messagesToDraw(stage);
  const isDense = drawn > headsMax;
  for (const group of groups) {
    const { delivered, lost } = byGroup[group];
    context.strokeStyle = palette[group];
    context.fillStyle = palette[group];
    context.lineWidth = 1;
    context.globalAlpha = isDense ? 0.45 : 0.9;
    strokeLines(stage, delivered);
    if (!isDense) fillHeads(stage, delivered);
    context.globalAlpha = 1;
    context.setLineDash([4, 3]);
    strokeLines(stage, lost);
    context.setLineDash([]);
    strokeCrosses(stage, lost);
  }
  return { inView, drawn };
}

/**
 * @param {Stage} stage
 * @param {readonly number[]} chosen
 */
function strokeLines({ context, run, view }, chosen) {
  context.beginPath();
  for (const message of chosen) {
    const { x1, y1, x2, y2 } = lineOf(run, view, message);
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
  }
  context.stroke();
}

/**
 * @param {Stage} stage
 * @param {readonly number[]} chosen
 */
function fillHeads({ context, run, view }, chosen) {
  context.beginPath();
  for (const message of chosen) {
    const { x1, y1, x2, y2 } = lineOf(run, view, message);
    const length = Math.hypot(x2 - x1, y2 - y1) || 1;
    const [dx, dy] = [(x2 - x1) / length, (y2 - y1) / length];
    context.moveTo(x2, y2);
    context.lineTo(x2 - 7 * dx - 3 * dy, y2 - 7 * dy + 3 * dx);
    context.lineTo(x2 - 7 * dx + 3 * dy, y2 - 7 * dy - 3 * dx);
  }
  context.fill();
}

/**
 * @param {Stage} stage
 * @param {readonly number[]} chosen
 */
function strokeCrosses({ context, run, view, palette }, chosen) {
  context.strokeStyle = palette.lost;
  context.lineWidth = 2;
  context.beginPath();
  for (const message of chosen) {
    const { x2, y2 } = lineOf(run, view, message);
    context.moveTo(x2 - 4, y2 - 4);
    context.lineTo(x2 + 4, y2 + 4);
    context.moveTo(x2 - 4, y2 + 4);
    context.lineTo(x2 + 4, y2 - 4);
  }
  context.stroke();
}

/** Roles have heights as well as colours: who cannot tell the colours apart sees who leads. */
const roleHeights = [0.45, 0.7, 0.7, 1];
const roleLetters = ['', 'pre ', 'cand ', 'leads '];

/**
 * The top of a strip.
 * @param {View} view
 * @param {Strip} strip
 */
function stripTop(view, { lane, partition }) {
  return view.laneTop[lane] + partition * view.stripHeight;
}

/** @param {Stage} stage */
function paintStrips({ context, run, view, palette }) {
  const { roleNames } = run.picture;
  const full = view.stripHeight - 1;
  context.textAlign = 'left';
  for (const strip of run.strips) {
    const bottom = stripTop(view, strip) + full;
    for (const { start, end, role, term } of strip.spans) {
      if (end < view.from || start > view.to) continue;
      const left = Math.max(view.lead, xOf(view, start));
      const right = Math.min(view.width, xOf(view, end));
      const width = Math.max(right - left, role === 0 ? 0.5 : 2);
      const height = full * roleHeights[role];
      context.fillStyle = palette[roleNames[role]];
      context.fillRect(left, bottom - height, width, height);
      const text = `${roleLetters[role]}term ${term}`;
      if (width < context.measureText(text).width + 8 || (role === 0 && full < 14)) continue;
      context.fillStyle = role === 3 ? palette.onLeader : palette.onCandidate;
      if (role === 0) context.fillStyle = palette.faint;
      const y = role === 0 ? bottom - full * 0.74 : bottom - height / 2 + 0.5;
      context.fillText(text, left + 4, y);
    }
  }
}

/** @type {Map<string, CanvasPattern | string>} */
const patterns = new Map();

/**
 * Hatching tells stretches apart without colour: down falls, stopped rises, starting is dotted.
 * @param {CanvasRenderingContext2D} context
 * @param {string} colour
 * @param {LifeSpan['state']} state
 */
function hatching(context, colour, state) {
  const known = patterns.get(`${state} ${colour}`);
  if (known !== undefined) return known;
  const tile = new OffscreenCanvas(8, 8);
  const pen = tile.getContext('2d');
  if (pen === null) return colour;
  pen.strokeStyle = colour;
  pen.fillStyle = colour;
  pen.globalAlpha = 0.35;
  pen.fillRect(0, 0, 8, 8);
  pen.globalAlpha = 1;
  pen.lineWidth = 2;
  pen.beginPath();
  const [y1, y2] = state === 'down' ? [-2, 10] : [10, -2];
  if (state === 'starting') pen.fillRect(2, 2, 3, 3);
  else {
    pen.moveTo(-2, y1);
    pen.lineTo(10, y2);
  }
  pen.stroke();
  const pattern = context.createPattern(tile, 'repeat') ?? colour;
  patterns.set(`${state} ${colour}`, pattern);
  return pattern;
}

/** @param {Stage} stage */
function paintLives({ context, run, view, palette }) {
  context.textAlign = 'left';
  run.lives.forEach((spans, lane) => {
    const top = view.laneTop[lane] - 2;
    const height = view.laneBottom[lane] - view.laneTop[lane] + 4;
    for (const { start, end, state } of spans) {
      if (end < view.from || start > view.to || end <= start) continue;
      const left = Math.max(view.lead - 1, xOf(view, start));
      const width = Math.max(2, Math.min(view.width + 1, xOf(view, end)) - left);
      if (state !== 'paused') {
        context.fillStyle = palette.paper;
        context.fillRect(left, top, width, height);
      }
      context.fillStyle = hatching(context, palette[state], state);
      context.fillRect(left, top, width, height);
      context.strokeStyle = palette[state];
      context.lineWidth = 1;
      context.strokeRect(left + 0.5, top + 0.5, width - 1, height - 1);
      paintTag(context, palette, { text: state, x: left + 4, y: top + height / 2, width });
    }
  });
}

/**
 * A word on a plate of paper, where there is room for it.
 * @param {CanvasRenderingContext2D} context
 * @param {Palette} palette
 * @param {{ readonly text: string, readonly x: number, readonly y: number, readonly width: number }} tag
 */
function paintTag(context, palette, { text, x, y, width }) {
  const textWidth = context.measureText(text).width;
  if (width < textWidth + 12) return;
  context.fillStyle = palette.paper;
  context.fillRect(x - 2, y - 7, textWidth + 4, 14);
  context.fillStyle = palette.ink;
  context.fillText(text, x, y + 0.5);
}

/** @param {Stage} stage */
function paintEvents({ context, run, view, palette }) {
  const { events } = run.picture;
  const end = firstAtOrAfter(run.eventAt, view.to);
  for (let at = firstAtOrAfter(run.eventAt, view.from); at < end; at++) {
    const lane = events.lane[at];
    if (lane < 0) continue;
    const x = Math.round(xOf(view, run.eventAt[at]));
    context.fillStyle = events.level[at] === 'info' ? palette.faint : palette.fault;
    const height = events.level[at] === 'info' ? 4 : 7;
    context.fillRect(x, view.laneTop[lane] - 3 - height, 2, height);
  }
}

/** @param {Stage} stage */
function paintFaults({ context, run, view, palette }) {
  context.textAlign = 'left';
  for (const { start, end, row, fault } of run.faults) {
    const left = xOf(view, start);
    const right = Math.max(left + 4, xOf(view, end));
    const room = nextOnRow(run, { row, start }, view) - left;
    const text = fault.text;
    if (left > view.width || right + context.measureText(text).width < view.lead) continue;
    const top = view.faultTop + row * faultRowHeight;
    context.fillStyle = palette.fault;
    context.globalAlpha = end > start ? 0.45 : 1;
    context.fillRect(left, top + 2, right - left, faultRowHeight - 4);
    context.globalAlpha = 1;
    context.fillRect(left, top + 1, 2, faultRowHeight - 2);
    const x = Math.max(view.lead, left) + 6 + (end > start ? 0 : 2);
    if (context.measureText(text).width > left + room - x - 4) continue;
    context.fillStyle = palette.ink;
    context.fillText(text, x, top + faultRowHeight / 2 + 0.5);
  }
}

/**
 * Where the next fault of a row begins.
 * @param {Run} run
 * @param {{ readonly row: number, readonly start: number }} after
 * @param {View} view
 */
function nextOnRow({ faults }, { row, start }, view) {
  const next = faults.find((other) => other.row === row && other.start > start);
  return next === undefined ? view.width : Math.min(view.width, xOf(view, next.start));
}

/** @param {Stage} stage */
function paintOperations({ context, run, view, palette }) {
  const { operations } = run.picture;
  const outcomes = ['ok', 'fail', 'info'];
  const full = view.workHeight - 2;
  operations.worker.forEach((worker, at) => {
    const [start, end] = [run.operationStart[at], run.operationEnd[at]];
    if (end < view.from || start > view.to) return;
    const left = xOf(view, start);
    const width = Math.max(1, xOf(view, end) - left - 0.5);
    const outcome = operations.outcome[at];
    const top = view.workTop + worker * view.workHeight;
    context.fillStyle = palette[outcomes[outcome]];
    // A failure is thin, an unknown end is a frame.
    if (outcome === 0) context.fillRect(left, top, width, full);
    else if (outcome === 1) context.fillRect(left, top + full - 2, width, 2);
    else {
      context.strokeStyle = palette.info;
      context.lineWidth = 1;
      context.strokeRect(left + 0.5, top + 0.5, Math.max(1, width - 1), full - 1);
    }
  });
}

/**
 * The instants of the whole run: everything healed, the end, the violation.
 * @param {Stage} stage
 */
function paintInstants({ context, run, view, palette }) {
  const { healedTicks, endTicks, violation } = run.picture;
  context.textAlign = 'right';
  if (healedTicks !== null) {
    const x = Math.round(xOf(view, healedTicks)) + 0.5;
    context.strokeStyle = palette.ok;
    context.setLineDash([2, 4]);
    strokeUpright(context, view, x);
    context.setLineDash([]);
    context.fillStyle = palette.ok;
    context.fillText('all healed', x - 4, view.height - 7);
  }
  if (violation === null) return;
  const x = Math.round(xOf(view, endTicks)) - 0.5;
  context.fillStyle = palette.violation;
  context.strokeStyle = palette.violation;
  context.lineWidth = 3;
  strokeUpright(context, view, x);
  context.fillText('violation', x - 6, rulerHeight + 10);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {number} x
 */
function strokeUpright(context, view, x) {
  context.beginPath();
  context.moveTo(x, rulerHeight);
  context.lineTo(x, view.height);
  context.stroke();
}

/** @param {Stage} stage */
function paintNames({ context, run, view, palette }) {
  context.fillStyle = palette.paper;
  context.fillRect(0, rulerHeight, view.lead - 1, view.height);
  context.textAlign = 'left';
  context.fillStyle = palette.ink;
  run.picture.lanes.forEach(({ name }, lane) => {
    context.fillText(name, 6, (view.laneTop[lane] + view.laneBottom[lane]) / 2);
  });
  context.fillStyle = palette.faint;
  if (run.faultRows > 0) context.fillText('faults', 6, view.faultTop + faultRowHeight / 2);
  const middle = view.workTop + (run.workers * view.workHeight) / 2;
  if (run.workers > 0) context.fillText('operations', 6, middle);
}
