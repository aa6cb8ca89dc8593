/**
 * The data of a run, unpacked for drawing. The parts of this folder are plain scripts of one scope: the page carries them one
 * behind the other, in the order of their names in `report-page.ts`. Times are ticks throughout.
 *
 * @typedef {import('../run-picture.ts').RunPicture} RunPicture
 * @typedef {import('../run-picture.ts').PictureField} PictureField
 *
 * @typedef {object} Messages
 * @property {number} count
 * @property {Float64Array} start
 * @property {Float64Array} end
 * @property {Float64Array} blockEnd The latest end within each block of {@link blockLength} messages.
 * @property {readonly number[]} fate
 * @property {readonly number[]} from
 * @property {readonly number[]} to
 * @property {readonly number[]} kind
 * @property {readonly number[]} bytes
 * @property {readonly number[]} values
 * @property {Int32Array} offset Where the values of each message begin.
 *
 * @typedef {object} RoleSpan A stretch of one role in one term.
 * @property {number} start
 * @property {number} end
 * @property {number} role
 * @property {number} term
 *
 * @typedef {object} Strip One replica.
 * @property {number} lane
 * @property {number} partition
 * @property {RoleSpan[]} spans
 * @property {number[]} at
 * @property {number[]} row Positions in the columns of the picture.
 *
 * @typedef {object} LifeSpan A stretch in which a machine does not run as usual.
 * @property {number} start
 * @property {number} end
 * @property {'down' | 'starting' | 'paused'} state
 * @property {string} why
 *
 * @typedef {object} Fault
 * @property {number} start
 * @property {number} end
 * @property {number} row
 * @property {RunPicture['faults'][number]} fault
 *
 * @typedef {object} Run
 * @property {RunPicture} picture
 * @property {Messages} messages
 * @property {Strip[]} strips
 * @property {LifeSpan[][]} lives By lane.
 * @property {Fault[]} faults
 * @property {number} faultRows
 * @property {number} workers
 * @property {Float64Array} operationStart
 * @property {Float64Array} operationEnd
 * @property {Float64Array} eventAt
 */

/** Messages that are skipped together when none of them reaches into view. */
const blockLength = 256;

/** Rows of faults at most; what finds no room lies on the last one. */
const faultRowsMax = 8;

/**
 * The running sums of a column of differences.
 * @param {readonly number[]} differences
 */
function timesOf(differences) {
  const times = new Float64Array(differences.length);
  let now = 0;
  for (let at = 0; at < times.length; at++) {
    now += differences[at];
    times[at] = now;
  }
  return times;
}

/**
 * The first position whose time is at or after `ticks`.
 * @param {ArrayLike<number>} times In order.
 * @param {number} ticks
 */
function firstAtOrAfter(times, ticks) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < ticks) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The position behind the values of one message, or of one element of a list.
 * @param {readonly PictureField[]} fields
 * @param {readonly number[]} values
 * @param {number} offset
 */
function skipValues(fields, values, offset) {
  let next = offset;
  for (const { of } of fields) {
    const value = values[next++];
    if (of === undefined) continue;
    for (let kept = Math.min(value, elementsKept); kept > 0; kept--)
      next = skipValues(of, values, next);
  }
  return next;
}

/** Elements of a list that the recorder keeps. */
const elementsKept = 8;

/**
 * The messages as columns that can be looked up.
 * @param {RunPicture} picture
 * @returns {Messages}
 */
function readMessages({ messages, kinds }) {
  const start = timesOf(messages.at);
  const count = start.length;
  const end = new Float64Array(count);
  const offset = new Int32Array(count);
  const blockEnd = new Float64Array(Math.ceil(count / blockLength));
  let next = 0;
  for (let at = 0; at < count; at++) {
    end[at] = start[at] + messages.took[at];
    offset[at] = next;
    next = skipValues(kinds[messages.kind[at]].fields, messages.values, next);
    const block = Math.floor(at / blockLength);
    if (end[at] > blockEnd[block]) blockEnd[block] = end[at];
  }
  const { fate, from, to, kind, bytes, values } = messages;
  return { count, start, end, blockEnd, fate, from, to, kind, bytes, values, offset };
}

/**
 * Stretches in which machines are down, starting or stopped, by lane.
 * @param {RunPicture} picture
 * @param {Float64Array} replicaTimes
 * @returns {LifeSpan[][]}
 */
function readLives(picture, replicaTimes) {
  /** @type {LifeSpan[][]} */
  const lives = picture.lanes.map(({ type }) =>
    type === 'node'
      ? [{ start: 0, end: picture.endTicks, state: 'down', why: 'not started yet' }]
      : [],
  );
  const times = timesOf(picture.lives.at);
  times.forEach((at, position) => {
    const change = picture.lifeChangeNames[picture.lives.change[position]];
    const spans = lives[picture.lives.lane[position]];
    const last = spans.at(-1);
    if (last !== undefined && last.end > at) last.end = at;
    if (change === 'resumed') return;
    const state = change === 'started' ? 'starting' : change === 'paused' ? 'paused' : 'down';
    spans.push({ start: at, end: picture.endTicks, state, why: lifeWords[change] ?? change });
  });
  endStarts(picture, lives, replicaTimes);
  return lives;
}

/** @type {Readonly<Record<string, string>>} */
const lifeWords = {
  started: 'starting: reads its disk',
  powerLoss: 'down: lost its power',
  processKill: 'down: process killed, or ended itself',
  paused: 'process stopped',
};

/**
 * A start is over once a replica of the machine is seen.
 * @param {RunPicture} picture
 * @param {LifeSpan[][]} lives
 * @param {Float64Array} replicaTimes
 */
function endStarts({ replicas }, lives, replicaTimes) {
  lives.forEach((spans, lane) => {
    for (const span of spans) {
      if (span.state !== 'starting') continue;
      let row = firstAtOrAfter(replicaTimes, span.start);
      while (row < replicaTimes.length && replicas.lane[row] !== lane) row++;
      if (row < replicaTimes.length) span.end = Math.min(span.end, replicaTimes[row]);
    }
  });
}

/**
 * One strip for each replica, with its stretches of one role.
 * @param {RunPicture} picture
 * @param {Float64Array} times
 * @param {LifeSpan[][]} lives
 * @returns {Strip[]}
 */
function readStrips({ lanes, partitions, replicas, endTicks }, times, lives) {
  /** @type {Strip[]} */
  const strips = [];
  lanes.forEach(({ type }, lane) => {
    if (type !== 'node') return;
    partitions.forEach((_, partition) =>
      strips.push({ lane, partition, spans: [], at: [], row: [] }),
    );
  });
  times.forEach((at, row) => {
    const strip = strips[replicas.lane[row] * partitions.length + replicas.partition[row]];
    if (strip === undefined) return;
    const role = replicas.role[row];
    const term = replicas.term[row];
    const last = strip.spans.at(-1);
    strip.at.push(at);
    strip.row.push(row);
    if (last !== undefined && last.role === role && last.term === term && isUp(last, at)) return;
    if (last !== undefined) last.end = Math.min(last.end, at);
    const nextDown = lives[strip.lane].find((span) => span.state === 'down' && span.start >= at);
    strip.spans.push({ start: at, end: nextDown?.start ?? endTicks, role, term });
  });
  return strips;
}

/**
 * @param {RoleSpan} span
 * @param {number} at
 */
function isUp(span, at) {
  return at < span.end;
}

/**
 * Faults, each on the first row that is free.
 * @param {RunPicture} picture
 */
function readFaults({ faults, ticksPerMs }) {
  /** @type {number[]} */
  const rowEnds = [];
  const gap = 300 * ticksPerMs;
  const placed = faults.map((fault) => {
    const { atTicks: start, untilTicks: end } = fault;
    let row = rowEnds.findIndex((rowEnd) => rowEnd <= start);
    if (row < 0) row = Math.min(rowEnds.length, faultRowsMax - 1);
    rowEnds[row] = Math.max(rowEnds[row] ?? 0, end + gap);
    return { start, end, row, fault };
  });
  return { placed, rows: rowEnds.length };
}

/**
 * Unpacks what the page carries.
 * @returns {Run}
 */
function readRun() {
  /** @type {RunPicture} */
  const picture = JSON.parse(document.getElementById('run-data')?.textContent ?? '');
  const replicaTimes = timesOf(picture.replicas.at);
  const lives = readLives(picture, replicaTimes);
  const { placed, rows } = readFaults(picture);
  const { operations } = picture;
  const operationStart = timesOf(operations.at);
  return {
    picture,
    messages: readMessages(picture),
    strips: readStrips(picture, replicaTimes, lives),
    lives,
    faults: placed,
    faultRows: rows,
    workers: operations.worker.reduce((most, worker) => Math.max(most, worker + 1), 0),
    operationStart,
    operationEnd: operationStart.map((start, at) => start + operations.took[at]),
    eventAt: timesOf(picture.events.at),
  };
}
