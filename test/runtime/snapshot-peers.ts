/** Members of a partition that give each other snapshots: folders in memory, links, and a clock that is moved by hand. */
import { hexEncode } from '../../src/base/bytes.ts';
import { ClustorError } from '../../src/base/errors.ts';
import { logIndex, partitionId, term, type NodeId } from '../../src/base/ids.ts';
import {
  contentHashOf,
  isSamePlace,
  type SnapshotContent,
  type SnapshotManifest,
  type SnapshotPlace,
} from '../../src/codec/snapshot-manifest.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { ObservedEvent, Observer } from '../../src/ports/observer.ts';
import type { RaftState } from '../../src/raft/index.ts';
import type { InstallFolder } from '../../src/runtime/install-desk.ts';
import type { PeerLinks } from '../../src/runtime/peer-links.ts';
import {
  SnapshotServer,
  type SnapshotRequest,
  type SnapshotResponse,
} from '../../src/runtime/snapshot-server.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import type { SnapshotToWrite, SnapshotWriter } from '../../src/storage/snapshot-folder.ts';
import { createCore, member, threeVoters } from '../raft/core-driver.ts';

export const partition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');
const { sha256 } = nodeCryptography;
const smallPartBytes = 4;

/** Keeps what was observed. */
export class EventList implements Observer {
  readonly events: ObservedEvent[] = [];

  emit(event: ObservedEvent): void {
    this.events.push(event);
  }

  of(kind: string): readonly ObservedEvent['fields'][] {
    return this.events.filter((event) => event.kind === kind).map(({ fields }) => fields);
  }
}

/** A snapshot and its parts. */
export interface MadeSnapshot {
  readonly manifest: SnapshotManifest;
  readonly parts: readonly Uint8Array[];
}

/** The snapshot of a text, in parts of four bytes. */
export function snapshotOf(
  index: number,
  text = `the state at ${index}`,
  change: Partial<SnapshotContent> = {},
): MadeSnapshot {
  const bytes = new TextEncoder().encode(text);
  const place = { index: logIndex(index), term: term(1) };
  const head = {
    ...place,
    configuration: threeVoters,
    knownTerm: term(2),
    createdMs: 5,
    partBytes: smallPartBytes,
  };
  return made(head, bytes, { stateBytes: 3, change });
}

function made(
  wanted: SnapshotToWrite,
  bytes: Uint8Array,
  { stateBytes, change = {} }: { stateBytes: number; change?: Partial<SnapshotContent> },
): MadeSnapshot {
  const { index, configuration, knownTerm, createdMs = 7, partBytes = smallPartBytes } = wanted;
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += partBytes) parts.push(bytes.slice(at, at + partBytes));
  const content: SnapshotContent = {
    partitionId: partition,
    index,
    term: wanted.term,
    configuration,
    knownTerm,
    createdMs,
    stateBytes,
    machineBytes: bytes.length - stateBytes,
    parts: parts.map((part) => ({ bytes: part.length, digest: hexEncode(sha256(part)) })),
    ...change,
  };
  const contentHash = contentHashOf(content, sha256);
  return { manifest: { ...content, contentHash, encryption: undefined }, parts };
}

/** Snapshots in memory. */
export class MemoryFolder implements InstallFolder {
  #snapshots: readonly MadeSnapshot[];
  /** What happened, in order. */
  readonly steps: string[] = [];
  /** Content hashes of snapshots that do not verify. */
  readonly bad = new Set<string>();
  /** Thrown by every write while it is there. */
  writeError: ClustorError | undefined;
  /** What steps that are held wait for. */
  readonly #held = new Map<string, Promise<void>>();
  /** Spoils what is finished. */
  createdMs: number | undefined;

  constructor(...snapshots: readonly MadeSnapshot[]) {
    this.#snapshots = snapshots;
  }

  get published(): readonly SnapshotManifest[] {
    return this.#snapshots.map(({ manifest }) => manifest);
  }

  /** A step does not end before what is returned is called. */
  holdAt(step: string): () => void {
    let goOn = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    this.#held.set(step, held);
    return goOn;
  }

  async verify(place: SnapshotPlace): Promise<string | undefined> {
    await this.#step('verify', place);
    return this.bad.has(this.#find(place).manifest.contentHash) ? 'a flipped bit' : undefined;
  }

  async part(place: SnapshotPlace, number: number): Promise<Uint8Array> {
    await this.#step(`read ${number} of`, place);
    const { manifest, parts } = this.#find(place);
    const part = parts[number - 1];
    if (part === undefined || this.bad.has(manifest.contentHash))
      throw new ClustorError('CLUSTOR_INTEGRITY', 'a flipped bit');
    return part;
  }

  async remove(place: SnapshotPlace): Promise<void> {
    await this.#step('remove', place);
    this.#snapshots = this.#snapshots.filter(({ manifest }) => !isSamePlace(manifest, place));
  }

  async begin(wanted: SnapshotToWrite): Promise<SnapshotWriter> {
    await this.#step('begin', wanted);
    let bytes: number[] = [];
    return {
      write: async (more) => {
        await this.#step('write', wanted);
        if (this.writeError !== undefined) throw this.writeError;
        bytes = [...bytes, ...more];
      },
      finish: async ({ stateBytes }) => {
        await this.#step('finish', wanted);
        const createdMs = this.createdMs ?? wanted.createdMs;
        const snapshot = made({ ...wanted, createdMs }, Uint8Array.from(bytes), { stateBytes });
        this.#snapshots = [...this.#snapshots, snapshot].sort(
          (left, right) => left.manifest.index - right.manifest.index,
        );
        return snapshot.manifest;
      },
      abort: () => this.#step('abort', wanted),
    };
  }

  #find(place: SnapshotPlace): MadeSnapshot {
    const found = this.#snapshots.find(({ manifest }) => isSamePlace(manifest, place));
    if (found === undefined) throw new ClustorError('CLUSTOR_LOG_COMPACTED', 'it is gone');
    return found;
  }

  async #step(name: string, { index }: SnapshotPlace): Promise<void> {
    this.steps.push(`${name} ${index}`);
    await this.#held.get(this.steps.at(-1) ?? '');
  }
}

/** The way to one node, and what was said on it. */
export class Way<Said extends SnapshotRequest | SnapshotResponse> {
  isUp = true;
  isCongested = false;
  readonly sent: Said[] = [];
  readonly #hear: (message: Said) => void;

  constructor(hear: (message: Said) => void) {
    this.#hear = hear;
  }

  send(message: Said, [content]: readonly Uint8Array[] = []): void {
    if (!this.isUp) return;
    // What is sent behind the message is its content on the other side.
    const said = content === undefined ? message : { ...message, content };
    this.sent.push(said);
    setImmediate(() => {
      this.#hear(said);
    });
  }
}

/** Links to ways. */
export function linksOf(ways: ReadonlyMap<NodeId, unknown>): PeerLinks {
  return { get: (nodeId: NodeId) => ways.get(nodeId) } as unknown as PeerLinks;
}

/** How a peer changes what it would say; `undefined` for silence. */
export type Tamper = (
  response: SnapshotResponse,
  request: SnapshotRequest,
) => SnapshotResponse | undefined;

/** A member that gives snapshots. */
export class Peer {
  readonly number: number;
  readonly member: ReturnType<typeof member>;
  readonly folder: MemoryFolder;
  readonly state: RaftState;
  readonly server: SnapshotServer;
  readonly requests: SnapshotRequest[] = [];
  /** The way to it. */
  readonly way: Way<SnapshotRequest>;
  tamper: Tamper = (response) => response;
  #request: SnapshotRequest | undefined;

  constructor(
    number: number,
    folder: MemoryFolder,
    world: { clock: Clock; observer: Observer; hear: (response: SnapshotResponse) => void },
  ) {
    this.number = number;
    this.member = member(number);
    this.folder = folder;
    this.state = createCore({ self: number });
    const back = new Way<SnapshotResponse>((response) => {
      const said = this.#request === undefined ? response : this.tamper(response, this.#request);
      if (said !== undefined) world.hear(said);
    });
    this.server = new SnapshotServer({
      state: this.state,
      source: folder,
      links: linksOf(new Map([[member(1).nodeId, back]])),
      clock: world.clock,
      observer: world.observer,
    });
    this.way = new Way<SnapshotRequest>((request) => {
      this.requests.push(request);
      this.#request = request;
      void this.server.serve(member(1).nodeId, request);
    });
  }
}
