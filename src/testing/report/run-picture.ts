/**
 * The data behind the picture of a run: plain JSON, made small by columns.
 *
 * - A time is a whole number of ticks; a millisecond has {@link ticksPerMs} of them, the grid of virtual time.
 * - Rows of one kind lie in columns of equal length, in order of time. The column `at` holds the ticks since the row before.
 * - `lane` is a position in `lanes`, `kind` one in `kinds`, and so on: names stand once.
 *
 * The page that draws it (`viewer/`) reads exactly this; what changes here changes there.
 */

/** Ticks of a millisecond. */
export const ticksPerMs = 16;

/** A machine. */
export interface PictureLane {
  /** Number of the machine in links and traces. */
  readonly machine: number;
  readonly name: string;
  readonly type: 'node' | 'client';
}

/** A number that messages of a kind carry. */
export interface PictureField {
  readonly name: string;
  /** Names of the values 0, 1, … of an enumeration. */
  readonly values?: readonly string[];
  /** The field is a list: its length, then this many fields for each of the first {@link elementsKeptMax} elements. */
  readonly of?: readonly PictureField[];
}

/** Elements of a list that are kept. */
export const elementsKeptMax = 8;

/** Kinds of messages that are shown and hidden together. */
export type MessageGroup = 'heartbeat' | 'append' | 'vote' | 'client' | 'link';

/** A kind of message. */
export interface PictureKind {
  readonly name: string;
  readonly group: MessageGroup;
  readonly fields: readonly PictureField[];
}

/** What became of a message: 0 delivered, 1 lost, 2 still under way when the run ended. */
export type MessageFate = 0 | 1 | 2;

/** Messages in order of sending. */
export interface MessageColumns {
  readonly at: readonly number[];
  /** Ticks until it was delivered, or lost, or the run ended. */
  readonly took: readonly number[];
  readonly fate: readonly number[];
  readonly from: readonly number[];
  readonly to: readonly number[];
  readonly kind: readonly number[];
  readonly bytes: readonly number[];
  /** The fields of one message after the other, as its kind lists them. */
  readonly values: readonly number[];
}

/** States of replicas, a row for each change. */
export interface ReplicaColumns {
  readonly at: readonly number[];
  readonly lane: readonly number[];
  readonly partition: readonly number[];
  /** A position in {@link roleNames}. */
  readonly role: readonly number[];
  readonly term: readonly number[];
  readonly commit: readonly number[];
  readonly last: readonly number[];
  readonly durable: readonly number[];
}

/** Names of roles, by position. */
export const roleNames = ['follower', 'preCandidate', 'candidate', 'leader'] as const;

/** Names of what happens to a machine's life, by position. */
export const lifeChangeNames = [
  'started',
  'powerLoss',
  'processKill',
  'paused',
  'resumed',
] as const;

/** Lives of machines. */
export interface LifeColumns {
  readonly at: readonly number[];
  readonly lane: readonly number[];
  /** A position in {@link lifeChangeNames}. */
  readonly change: readonly number[];
}

/** A fault that happened. */
export interface PictureFault {
  readonly atTicks: number;
  /** When it was over; the same instant for what has no length. */
  readonly untilTicks: number;
  readonly kind: string;
  readonly text: string;
  /** The machines that it met. */
  readonly lanes: readonly number[];
}

/** Operations of clients, in order of their beginning. */
export interface OperationColumns {
  readonly at: readonly number[];
  /** Ticks until its end. */
  readonly took: readonly number[];
  /** The worker that asked; it has one operation at a time. */
  readonly worker: readonly number[];
  /** 0 acknowledged, 1 failed for sure, 2 nobody knows. */
  readonly outcome: readonly number[];
  /** A position in `names`. */
  readonly name: readonly number[];
  /** A position in `keys`. */
  readonly key: readonly number[];
  /** What was asked and what came back, as JSON. */
  readonly asked: readonly string[];
  readonly answered: readonly string[];
  readonly names: readonly string[];
  readonly keys: readonly string[];
}

/** What nodes and clients logged. */
export interface EventColumns {
  readonly at: readonly number[];
  /** -1 for clients. */
  readonly lane: readonly number[];
  readonly level: readonly string[];
  /** A position in `kinds`. */
  readonly kind: readonly number[];
  /** Facts, as JSON. */
  readonly fields: readonly string[];
  readonly kinds: readonly string[];
}

/** Everything. */
export interface RunPicture {
  readonly formatVersion: 1;
  readonly seed: number;
  readonly traceHash: string;
  readonly violation: string | null;
  readonly ticksPerMs: number;
  readonly endTicks: number;
  /** When the storm was over and everything was healed. */
  readonly healedTicks: number | null;
  /** For the header. */
  readonly counts: Readonly<Record<string, number>>;
  readonly partitions: readonly string[];
  readonly lanes: readonly PictureLane[];
  readonly kinds: readonly PictureKind[];
  readonly roleNames: readonly string[];
  readonly lifeChangeNames: readonly string[];
  readonly messages: MessageColumns;
  /** Messages past the bound of the recorder: counted, not kept. */
  readonly messagesLeftOut: number;
  readonly replicas: ReplicaColumns;
  readonly lives: LifeColumns;
  readonly faults: readonly PictureFault[];
  readonly operations: OperationColumns;
  readonly events: EventColumns;
}
