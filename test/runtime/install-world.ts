/** A replica without a snapshot that it needs, and two members that have it. */
import { logIndex, type LogIndex } from '../../src/base/ids.ts';
import type { SnapshotManifest } from '../../src/codec/snapshot-manifest.ts';
import { InstallDesk } from '../../src/runtime/install-desk.ts';
import type { SnapshotResponse } from '../../src/runtime/snapshot-server.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { createCore } from '../raft/core-driver.ts';
import { HandClock } from './hand-clock.ts';
import {
  EventList,
  linksOf,
  MemoryFolder,
  partition,
  Peer,
  snapshotOf,
  type MadeSnapshot,
  type Tamper,
} from './snapshot-peers.ts';

/** What both members have unless told otherwise. */
export const wanted: MadeSnapshot = snapshotOf(30);

/** Node 1 fetches; nodes 2 (the leader) and 3 have what they are given. */
export class World {
  readonly clock = new HandClock();
  readonly observer = new EventList();
  readonly folder: MemoryFolder;
  readonly leader: Peer;
  readonly other: Peer;
  readonly installed: SnapshotManifest[] = [];
  readonly failures: unknown[] = [];
  readonly desk: InstallDesk;
  minIndex: LogIndex | undefined = logIndex(25);
  install = (manifest: SnapshotManifest): Promise<void> => {
    this.installed.push(manifest);
    this.minIndex = undefined;
    return Promise.resolve();
  };

  constructor(
    options: {
      readonly leader?: readonly MadeSnapshot[];
      readonly other?: readonly MadeSnapshot[];
      readonly own?: readonly MadeSnapshot[];
      /** Entries of the own log. */
      readonly lastIndex?: number;
    } = {},
  ) {
    const { leader = [wanted], other = [wanted], own = [], lastIndex = 5 } = options;
    const { clock, observer } = this;
    this.folder = new MemoryFolder(...own);
    const hear = (response: SnapshotResponse): void => this.desk.answered(response);
    this.leader = new Peer(2, new MemoryFolder(...leader), { clock, observer, hear });
    this.other = new Peer(3, new MemoryFolder(...other), { clock, observer, hear });
    const peers = [this.leader, this.other];
    this.desk = new InstallDesk({
      replica: {
        partitionId: partition,
        state: createCore({ self: 1, log: Array.from({ length: lastIndex }, () => 1) }),
      },
      members: () => peers.map(({ member }) => member),
      links: linksOf(new Map(peers.map(({ member, way }) => [member.nodeId, way]))),
      clock,
      observer,
      cryptography: nodeCryptography,
      folder: this.folder,
      need: () => (this.minIndex === undefined ? undefined : { minIndex: this.minIndex }),
      install: (manifest) => this.install(manifest),
      fail: (error) => this.failures.push(error),
    });
  }

  /** Reviews every tenth of a second, as sweeps do. */
  async pass(durationMs: number): Promise<void> {
    for (let passed = 0; passed < durationMs; passed += 100) {
      this.desk.review();
      await this.clock.advance(100);
    }
  }

  /** Until a peer has been asked for so many parts. */
  async untilAsked({ requests }: Peer, part: number): Promise<void> {
    for (let round = 0; round < 1_000; round++) {
      if (requests.some((request) => request.part === part)) return;
      this.desk.review();
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error(`part ${part} was not asked for`);
  }
}

/** Spoils the answers for one part. */
export function spoiled(part: number, change: Partial<SnapshotResponse>): Tamper {
  return (response) => (response.part === part ? { ...response, ...change } : response);
}
