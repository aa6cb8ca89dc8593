/**
 * Watches one simulated run and keeps what its picture shows. Give it to `runSimulation` as `tap`, and its `onEvent` as
 * `onEvent`; afterwards {@link RunRecorder.picture} is the data of the page.
 */
import type { FaultAction } from '../fault-plan.ts';
import type { HistoryEvent } from '../history.ts';
import type { TimelineEvent } from '../sim-cluster.ts';
import type { SimRunReport } from '../sim-run.ts';
import type { LifeChange, SimTap, TappedConnection, TappedReplica } from '../sim-tap.ts';
import { describeFault } from './fault-text.ts';
import { pictureKinds } from './message-fields.ts';
import { differencesOf, MessageRecorder } from './message-recorder.ts';
import {
  lifeChangeNames,
  roleNames,
  ticksPerMs,
  type EventColumns,
  type LifeColumns,
  type OperationColumns,
  type PictureFault,
  type PictureLane,
  type ReplicaColumns,
  type RunPicture,
} from './run-picture.ts';

/** Log lines that are kept; runs have some hundreds. */
const eventsKeptMax = 50_000;

interface LifeRow {
  readonly at: number;
  readonly machine: number;
  readonly change: number;
}

interface ReplicaRow {
  readonly at: number;
  readonly machine: number;
  readonly partition: number;
  readonly role: number;
  readonly term: number;
  readonly commit: number;
  readonly last: number;
  readonly durable: number;
}

interface OperationRow {
  readonly at: number;
  readonly worker: number;
  readonly op: string;
  readonly key: string;
  readonly asked: string;
  end: number;
  outcome: 0 | 1 | 2;
  answered: string;
}

/** See the file comment. */
export class RunRecorder implements SimTap {
  /** What was watched last: virtual milliseconds. */
  nowMs = 0;
  readonly #partitions: string[] = [];
  readonly #messages = new MessageRecorder((id) => this.#partition(id) + 1);
  readonly #clientNames = new Map<number, string>();
  readonly #lives: LifeRow[] = [];
  readonly #replicas: ReplicaRow[] = [];
  readonly #newest = new Map<string, ReplicaRow>();
  readonly #faults: { readonly action: FaultAction; readonly at: number }[] = [];
  readonly #operations: OperationRow[] = [];
  readonly #running = new Map<number, OperationRow>();
  readonly #workers = new Map<number, number>();
  readonly #events: (TimelineEvent & { readonly at: number })[] = [];
  #healedTicks: number | undefined;
  #endTicks = 0;

  /** Messages seen. */
  get messageCount(): number {
    return this.#messages.count + this.#messages.leftOut;
  }

  connected({ stream, dialer, listener }: TappedConnection, atMs: number): void {
    this.#at(atMs);
    for (const { machine, identity } of [dialer, listener])
      if (identity.kind === 'client') this.#clientNames.set(machine, identity.name);
    this.#messages.open(stream, dialer.machine, listener.machine);
    this.#messages.open(stream + 1, listener.machine, dialer.machine);
  }

  sent(stream: number, bytes: Uint8Array, atMs: number): void {
    this.#messages.sent(stream, bytes, this.#at(atMs));
  }

  delivered(stream: number, byteCount: number, atMs: number): void {
    this.#messages.consumed(stream, { byteCount, fate: 0 }, this.#at(atMs));
  }

  dropped(stream: number, byteCount: number, atMs: number): void {
    this.#messages.consumed(stream, { byteCount, fate: 1 }, this.#at(atMs));
  }

  truncated(stream: number, keptByteCount: number, atMs: number): void {
    this.#messages.truncated(stream, keptByteCount, this.#at(atMs));
  }

  closed(stream: number, atMs: number): void {
    this.#messages.closed(stream, this.#at(atMs));
  }

  lifeChanged(machine: number, change: LifeChange, atMs: number): void {
    this.#lives.push({ at: this.#at(atMs), machine, change: lifeChangeNames.indexOf(change) });
    for (const partition of this.#partitions.keys())
      if (change !== 'paused' && change !== 'resumed')
        this.#newest.delete(`${machine}/${partition}`);
  }

  replica({ nodeId, partitionId, state }: TappedReplica, atMs: number): void {
    const partition = this.#partition(partitionId);
    const key = `${nodeId}/${partition}`;
    const known = this.#newest.get(key);
    const { term, commitIndex: commit, durableIndex: durable } = state;
    const role = roleNames.indexOf(state.role);
    const last = state.log.lastIndex;
    const isSame =
      known?.role === role &&
      known.term === term &&
      known.commit === commit &&
      known.last === last &&
      known.durable === durable;
    if (isSame) return;
    const at = this.#at(atMs);
    const row = { at, machine: nodeId, partition, role, term, commit, last, durable };
    this.#newest.set(key, row);
    this.#replicas.push(row);
  }

  fault(action: FaultAction, atMs: number): void {
    this.#faults.push({ action, at: this.#at(atMs) });
  }

  healed(atMs: number): void {
    this.#healedTicks = this.#at(atMs);
  }

  operation(event: HistoryEvent): void {
    const at = Math.round((event.time / 1_000_000) * ticksPerMs);
    const { process, type, op, key } = event;
    if (type === 'invoke') {
      const row: OperationRow = {
        at,
        worker: this.#workerOf(process),
        op,
        key,
        asked: JSON.stringify(event.value),
        end: -1,
        outcome: 2,
        answered: '',
      };
      this.#operations.push(row);
      this.#running.set(process, row);
      return;
    }
    const row = this.#running.get(process);
    if (row === undefined) return;
    row.end = at;
    row.outcome = type === 'ok' ? 0 : type === 'fail' ? 1 : 2;
    if (type === 'ok') row.answered = JSON.stringify(event.value);
    this.#running.delete(process);
    // A process that ended without knowing never appears again; its worker goes on under a new number.
    if (type === 'info') this.#workers.delete(process);
  }

  ended(atMs: number): void {
    this.#endTicks = this.#at(atMs);
  }

  /** Keeps a log line, unless it is for debugging. */
  readonly onEvent = (event: TimelineEvent): void => {
    if (event.event.level === 'debug' || this.#events.length >= eventsKeptMax) return;
    this.#events.push({ ...event, at: this.#at(event.atMs) });
  };

  /** The data of the page; to be asked for once, when the run is over. */
  picture(report: SimRunReport): RunPicture {
    const lanes = this.#lanes(report.nodes);
    const positions = new Map(lanes.map(({ machine }, position) => [machine, position]));
    const laneOf = (machine: number): number => positions.get(machine) ?? -1;
    const { simulatedMs, events, operations, acknowledged, leaderChanges, crashes } = report;
    return {
      formatVersion: 1,
      seed: report.seed,
      traceHash: report.traceHash,
      violation: report.violation ?? null,
      ticksPerMs,
      endTicks: this.#endTicks,
      healedTicks: this.#healedTicks ?? null,
      counts: {
        simulatedMs,
        events,
        messages: this.messageCount,
        operations,
        acknowledged,
        leaderChanges,
        crashes,
        faults: this.#faults.length,
        plannedFaults: report.plannedFaults,
      },
      partitions: this.#partitions,
      lanes,
      kinds: pictureKinds,
      roleNames,
      lifeChangeNames,
      messages: this.#messages.finish(this.#endTicks, laneOf),
      messagesLeftOut: this.#messages.leftOut,
      replicas: this.#replicaColumns(laneOf),
      lives: this.#lifeColumns(laneOf),
      faults: this.#pictureFaults(laneOf),
      operations: this.#operationColumns(),
      events: this.#eventColumns(laneOf),
    };
  }

  #at(atMs: number): number {
    this.nowMs = atMs;
    return Math.round(atMs * ticksPerMs);
  }

  #partition(id: string): number {
    const known = this.#partitions.indexOf(id);
    return known >= 0 ? known : this.#partitions.push(id) - 1;
  }

  /** The first worker that has no process. */
  #workerOf(process: number): number {
    const known = this.#workers.get(process);
    if (known !== undefined) return known;
    const taken = new Set(this.#workers.values());
    let worker = 0;
    while (taken.has(worker)) worker++;
    this.#workers.set(process, worker);
    return worker;
  }

  #lanes(nodes: number): PictureLane[] {
    const nodeLanes = Array.from({ length: nodes }, (_, at): PictureLane => {
      return { machine: at + 1, name: `node ${at + 1}`, type: 'node' };
    });
    const clients = [...this.#clientNames].sort(([left], [right]) => left - right);
    return [
      ...nodeLanes,
      ...clients.map(([machine, name]): PictureLane => ({ machine, name, type: 'client' })),
    ];
  }

  #replicaColumns(laneOf: (machine: number) => number): ReplicaColumns {
    const rows = this.#replicas;
    return {
      at: differencesOf(rows.map((row) => row.at)),
      lane: rows.map((row) => laneOf(row.machine)),
      partition: rows.map((row) => row.partition),
      role: rows.map((row) => row.role),
      term: rows.map((row) => row.term),
      commit: rows.map((row) => row.commit),
      last: rows.map((row) => row.last),
      durable: rows.map((row) => row.durable),
    };
  }

  #lifeColumns(laneOf: (machine: number) => number): LifeColumns {
    return {
      at: differencesOf(this.#lives.map((row) => row.at)),
      lane: this.#lives.map((row) => laneOf(row.machine)),
      change: this.#lives.map((row) => row.change),
    };
  }

  #pictureFaults(laneOf: (machine: number) => number): PictureFault[] {
    // What lasts ends when everything is healed, a machine that is down is started soon after.
    return this.#faults.map(({ action, at }) => {
      const { text, forMs, nodeIds } = describeFault(action);
      const end = Math.min(at + Math.round(forMs * ticksPerMs), this.#endTicks);
      return {
        atTicks: at,
        untilTicks: Math.max(at, Math.min(end, this.#healedTicks ?? end)),
        kind: action.kind,
        text,
        lanes: nodeIds.map((nodeId) => laneOf(nodeId)),
      };
    });
  }

  #operationColumns(): OperationColumns {
    const rows = this.#operations;
    const [names, name] = numbered(rows.map((row) => row.op));
    const [keys, key] = numbered(rows.map((row) => row.key));
    return {
      at: differencesOf(rows.map((row) => row.at)),
      took: rows.map((row) => (row.end < 0 ? this.#endTicks : row.end) - row.at),
      worker: rows.map((row) => row.worker),
      outcome: rows.map((row) => row.outcome),
      name,
      key,
      asked: rows.map((row) => row.asked),
      answered: rows.map((row) => row.answered),
      names,
      keys,
    };
  }

  #eventColumns(laneOf: (machine: number) => number): EventColumns {
    const rows = this.#events;
    const [kinds, kind] = numbered(rows.map((row) => row.event.kind));
    return {
      at: differencesOf(rows.map((row) => row.at)),
      lane: rows.map((row) => (row.nodeId === undefined ? -1 : laneOf(row.nodeId))),
      level: rows.map((row) => row.event.level),
      kind,
      fields: rows.map((row) => JSON.stringify(row.event.fields)),
      kinds,
    };
  }
}

/** Each text once, and the position of each. */
function numbered(texts: readonly string[]): [names: string[], positions: number[]] {
  const known = new Map<string, number>();
  const positions = texts.map((text) => {
    const position = known.get(text) ?? known.size;
    known.set(text, position);
    return position;
  });
  return [[...known.keys()], positions];
}
