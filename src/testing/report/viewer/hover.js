/**
 * What is under the pointer: finding it, and saying it in words. The upper canvas shows the cursor with every replica's commit
 * index beside it, and marks what was hit.
 *
 * @typedef {object} Hit
 * @property {'message' | 'fault' | 'operation' | 'event' | 'replica' | 'life'} type
 * @property {number} position Within the columns of its type; of a strip or lane for the last two.
 * @property {number} ticks
 */

/** Pixels from a line that still hit it. */
const reach = 6;

/**
 * @param {Run} run
 * @param {View} view
 * @param {{ readonly x: number, readonly y: number }} point
 * @returns {Hit | undefined}
 */
function hitAt(run, view, point) {
  if (point.x < view.lead || point.y < rulerHeight) return undefined;
  const ticks = ticksAt(view, point.x);
  return (
    faultAt(run, view, { ...point, ticks }) ??
    operationAt(run, view, { ...point, ticks }) ??
    eventAtPoint(run, view, { ...point, ticks }) ??
    laneAt(run, view, { ...point, ticks }) ??
    messageAt(run, view, { ...point, ticks })
  );
}

/**
 * @typedef {{ readonly x: number, readonly y: number, readonly ticks: number }} Point
 * @typedef {(run: Run, view: View, point: Point) => Hit | undefined} Finder
 */

/** @type {Finder} */
function faultAt({ faults }, view, { x, y, ticks }) {
  const row = Math.floor((y - view.faultTop) / faultRowHeight);
  const position = faults.findLastIndex((fault) => {
    const left = xOf(view, fault.start) - 3;
    return fault.row === row && x >= left && x <= Math.max(xOf(view, fault.end) + 3, left + 10);
  });
  return position < 0 ? undefined : { type: 'fault', position, ticks };
}

/** @type {Finder} */
function operationAt(run, view, { x, y, ticks }) {
  const worker = Math.floor((y - view.workTop) / view.workHeight);
  if (worker < 0 || worker >= run.workers) return undefined;
  const position = run.picture.operations.worker.findLastIndex(
    (other, at) =>
      other === worker &&
      xOf(view, run.operationStart[at]) - 2 <= x &&
      xOf(view, run.operationEnd[at]) + 2 >= x,
  );
  return position < 0 ? undefined : { type: 'operation', position, ticks };
}

/** @type {Finder} */
function eventAtPoint({ picture, eventAt }, view, { x, y, ticks }) {
  const lane = view.laneTop.findIndex((top) => y >= top - 11 && y < top - 2);
  if (lane < 0) return undefined;
  const end = firstAtOrAfter(eventAt, ticksAt(view, x + 4));
  for (let at = firstAtOrAfter(eventAt, ticksAt(view, x - 3)); at < end; at++)
    if (picture.events.lane[at] === lane) return { type: 'event', position: at, ticks };
  return undefined;
}

/** @type {Finder} */
function laneAt(run, view, { y, ticks }) {
  const lane = view.laneTop.findIndex((top, at) => y >= top - 2 && y <= view.laneBottom[at] + 2);
  if (lane < 0 || run.picture.lanes[lane].type !== 'node') return undefined;
  const row = Math.floor((y - view.laneTop[lane]) / view.stripHeight);
  const { length } = run.picture.partitions;
  const partition = Math.min(Math.max(0, row), length - 1);
  const position = run.strips.findIndex(
    (strip) => strip.lane === lane && strip.partition === partition,
  );
  return position < 0
    ? { type: 'life', position: lane, ticks }
    : { type: 'replica', position, ticks };
}

/** @type {Finder} */
function messageAt(run, view, { x, y, ticks }) {
  let position = -1;
  let nearest = reach;
  eachMessageInView(run, view, (message) => {
    const { x1, y1, x2, y2 } = lineOf(run, view, message);
    if (x < Math.min(x1, x2) - reach || x > Math.max(x1, x2) + reach) return;
    const squared = (x2 - x1) ** 2 + (y2 - y1) ** 2 || 1;
    const share = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / squared;
    const near = Math.min(1, Math.max(0, share));
    const distance = Math.hypot(x1 + near * (x2 - x1) - x, y1 + near * (y2 - y1) - y);
    if (distance >= nearest) return;
    nearest = distance;
    position = message;
  });
  return position < 0 ? undefined : { type: 'message', position, ticks };
}

/**
 * The state of a replica at an instant: a row of the columns, or -1 when its machine does not run.
 * @param {Run} run
 * @param {Strip} strip
 * @param {number} ticks
 */
function rowAt(run, strip, ticks) {
  const life = lifeAt(run, strip.lane, ticks);
  if (life !== undefined && life.state !== 'paused') return -1;
  const at = firstAtOrAfter(strip.at, ticks + 0.5) - 1;
  return at < 0 ? -1 : strip.row[at];
}

/**
 * @param {Run} run
 * @param {number} lane
 * @param {number} ticks
 */
function lifeAt({ lives }, lane, ticks) {
  return lives[lane].findLast(({ start, end }) => start <= ticks && end > ticks);
}

/**
 * An instant, or a length of time, in words.
 * @param {Run} run
 * @param {number} ticks
 */
function timeText({ picture }, ticks) {
  return `${(ticks / picture.ticksPerMs).toFixed(3)} ms`;
}

/**
 * What a hit is, line by line; the first line is its name.
 * @param {Run} run
 * @param {Hit} hit
 * @returns {string[]}
 */
function describeHit(run, hit) {
  switch (hit.type) {
    case 'message':
      return describeMessage(run, hit.position);
    case 'fault':
      return describeFaultSpan(run, hit.position);
    case 'operation':
      return describeOperation(run, hit.position);
    case 'event':
      return describeEvent(run, hit.position);
    case 'replica':
      return describeReplica(run, run.strips[hit.position], hit.ticks);
    case 'life':
      return [run.picture.lanes[hit.position].name];
  }
}

/**
 * @param {Run} run
 * @param {number} message
 */
function describeMessage(run, message) {
  const { messages, picture } = run;
  const { name, fields } = picture.kinds[messages.kind[message]];
  const from = picture.lanes[messages.from[message]]?.name ?? '?';
  const to = picture.lanes[messages.to[message]]?.name ?? '?';
  const fate = ['delivered', 'lost', 'still under way'][messages.fate[message]];
  const took = timeText(run, messages.end[message] - messages.start[message]);
  return [
    `${name}, ${from} → ${to}`,
    `sent ${timeText(run, messages.start[message])}`,
    `${fate}${messages.fate[message] === 2 ? ' at the end,' : ''} after ${took}`,
    `${messages.bytes[message]} bytes`,
    ...fieldTexts(fields, messages.values, messages.offset[message]),
  ];
}

/**
 * @param {readonly PictureField[]} fields
 * @param {readonly number[]} values
 * @param {number} offset
 * @returns {string[]}
 */
function fieldTexts(fields, values, offset) {
  /** @type {string[]} */
  const texts = [];
  let next = offset;
  for (const field of fields) {
    const value = values[next];
    if (field.of === undefined) {
      texts.push(`${field.name} ${field.values?.[value] ?? value}`);
      next++;
      continue;
    }
    next++;
    texts.push(`${field.name}: ${value}`);
    for (let element = 0; element < Math.min(value, elementsKept); element++) {
      texts.push(`  ${fieldTexts(field.of, values, next).join(', ')}`);
      next = skipValues(field.of, values, next);
    }
    if (value > elementsKept) texts.push('  …');
  }
  return texts;
}

/**
 * @param {Run} run
 * @param {number} position
 */
function describeFaultSpan(run, position) {
  const { fault, start, end } = run.faults[position];
  const length = end > start ? [`for ${timeText(run, end - start)}`] : [];
  return [`${fault.kind}: ${fault.text}`, `at ${timeText(run, start)}`, ...length];
}

/**
 * @param {Run} run
 * @param {number} at
 */
function describeOperation(run, at) {
  const { operations } = run.picture;
  const outcome = [
    'acknowledged',
    'surely without effect: refused, or it found another value',
    'outcome unknown',
  ];
  const answered = operations.answered[at];
  return [
    `${operations.names[operations.name[at]]} ${operations.keys[operations.key[at]]}`,
    outcome[operations.outcome[at]],
    `worker ${operations.worker[at]}, asked ${timeText(run, run.operationStart[at])}`,
    `took ${timeText(run, run.operationEnd[at] - run.operationStart[at])}`,
    ...(operations.asked[at] === 'null' ? [] : [`asked for ${operations.asked[at]}`]),
    ...(answered === '' ? [] : [`answer ${answered}`]),
  ];
}

/**
 * @param {Run} run
 * @param {number} at
 */
function describeEvent(run, at) {
  const { events, lanes, partitions } = run.picture;
  /** @type {Record<string, unknown>} */
  const fields = JSON.parse(events.fields[at]);
  const texts = Object.entries(fields).map(([field, value]) => {
    const partition = partitions.indexOf(String(value));
    return partition < 0 ? `${field} ${String(value)}` : `partition ${partition + 1}`;
  });
  const who = lanes[events.lane[at]]?.name ?? 'client';
  return [
    `${events.kinds[events.kind[at]]} (${events.level[at]})`,
    `${who}, ${timeText(run, run.eventAt[at])}`,
    ...texts,
  ];
}

/**
 * @param {Run} run
 * @param {Strip} strip
 * @param {number} ticks
 */
function describeReplica(run, strip, ticks) {
  const { picture } = run;
  const row = rowAt(run, strip, ticks);
  const life = lifeAt(run, strip.lane, ticks);
  const many = picture.partitions.length > 1 ? `, partition ${strip.partition + 1}` : '';
  const head = `${picture.lanes[strip.lane].name}${many}`;
  const lifeText = life === undefined ? [] : [`${life.why}, since ${timeText(run, life.start)}`];
  if (row < 0) return [head, ...lifeText, `at ${timeText(run, ticks)}`];
  const { replicas } = picture;
  return [
    `${head}: ${picture.roleNames[replicas.role[row]]}`,
    ...lifeText,
    `term ${replicas.term[row]}`,
    `commit index ${replicas.commit[row]}`,
    `durable index ${replicas.durable[row]}`,
    `last index ${replicas.last[row]}`,
    `at ${timeText(run, ticks)}`,
  ];
}

/**
 * Everything at the cursor in one sentence, for those who do not see the picture.
 * @param {Run} run
 * @param {number} ticks
 */
function describeInstant(run, ticks) {
  const lanes = run.strips.map((strip) =>
    describeReplica(run, strip, ticks).slice(0, -1).join(', '),
  );
  return `${timeText(run, ticks)}. ${lanes.join('. ')}.`;
}

/**
 * Paints what follows the pointer.
 * @param {Stage} stage
 */
function paintCursor(stage) {
  const { context, run, view, palette } = stage;
  context.clearRect(0, 0, view.width, view.height);
  if (view.hit?.type === 'message') paintHitMessage(stage, view.hit.position);
  if (view.cursor === undefined || view.cursor < view.from || view.cursor > view.to) return;
  const { cursor } = view;
  const x = Math.round(xOf(view, cursor)) + 0.5;
  context.strokeStyle = palette.ink;
  context.globalAlpha = 0.6;
  context.lineWidth = 1;
  strokeUpright(context, view, x);
  context.globalAlpha = 1;
  context.font = font;
  context.textBaseline = 'middle';
  context.textAlign = 'left';
  const isRight = x < view.width - 90;
  for (const strip of run.strips) {
    const row = rowAt(run, strip, cursor);
    if (row < 0) continue;
    const text = `commit ${run.picture.replicas.commit[row]}`;
    const width = context.measureText(text).width;
    const tag = { text, x: isRight ? x + 6 : x - width - 8, y: 0, width: Infinity };
    paintTag(context, palette, { ...tag, y: stripTop(view, strip) + view.stripHeight / 2 });
  }
  paintTag(context, palette, { text: timeText(run, cursor), x: x + 4, y: 11, width: Infinity });
}

/**
 * @param {Stage} stage
 * @param {number} message
 */
function paintHitMessage(stage, message) {
  const { context, run, view, palette } = stage;
  context.strokeStyle = palette[run.picture.kinds[run.messages.kind[message]].group];
  context.fillStyle = context.strokeStyle;
  context.lineWidth = 3;
  strokeLines(stage, [message]);
  if (run.messages.fate[message] === 0) fillHeads(stage, [message]);
  const { x1, y1 } = lineOf(run, view, message);
  context.beginPath();
  context.arc(x1, y1, 3, 0, 7);
  context.fill();
}
