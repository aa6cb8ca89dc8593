/**
 * Whether the disk below a data directory keeps what it says it has (specification §14): facts in, a verdict with its reasons
 * out.
 *
 * What is rejected loses acknowledged entries when the power goes, or answers a sync without one: memory, network and user-space
 * file systems, barriers that are switched off. What is unusual, slow or cannot be looked into is a warning. A volatile write
 * cache is no fault by itself: with barriers on, the kernel empties it at each sync.
 */

/** What is found about one thing, and about all together. @public */
export type DiskHygiene = 'Allow' | 'Warn' | 'Reject';

/** A device at the bottom of the stack. */
export interface DeviceFacts {
  /** Name in `/sys/class/block`. */
  readonly name: string;
  /** `write back` is volatile until it is flushed; `write through` is not. */
  readonly writeCache: string | undefined;
  /** Whether single writes can be forced to the medium. */
  readonly hasFua: boolean | undefined;
  readonly isRotational: boolean | undefined;
  readonly serial: string | undefined;
}

/** Syncs that were timed. */
export interface FsyncProbe {
  readonly samples: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** What is known of the disk below a path. */
export interface DiskFacts {
  /** Type as the kernel names it; empty where it is not known. */
  readonly fileSystem: string;
  readonly mountPoint: string;
  /** Options of the mount and of the file system. */
  readonly options: readonly string[];
  readonly devices: readonly DeviceFacts[];
  readonly probe: FsyncProbe | undefined;
}

/** One reason. */
export interface DiskFinding {
  /** Stable name. */
  readonly finding: string;
  readonly verdict: DiskHygiene;
  readonly text: string;
  /** What to do next. */
  readonly advice: string;
}

/** The whole judgement. */
export interface DiskJudgement {
  readonly verdict: DiskHygiene;
  readonly findings: readonly DiskFinding[];
}

/** A decision to use a rejected disk for a time. */
export interface DiskOverride {
  readonly attestedBy: string;
  readonly ticket: string;
  readonly reason: string;
  readonly expiresAtMs: number;
}

/** What an override file is worth. */
export type OverrideVerdict =
  | { readonly kind: 'valid'; readonly override: DiskOverride }
  | { readonly kind: 'expired'; readonly override: DiskOverride }
  | { readonly kind: 'unreadable'; readonly reason: string };

/** Largest 99th percentile of a sync that needs no word, milliseconds. */
const probeP99MsMax = 20;
/** A median below this, milliseconds, is faster than any way to a medium. */
const probeP50MsMin = 0.008;
const memoryFileSystems: readonly string[] = ['tmpfs', 'ramfs', 'devtmpfs', 'hugetlbfs'];
const remoteFileSystems =
  /^(nfs\d?|cifs|smb\d?|smbfs|9p|ceph|glusterfs|lustre|afs|virtiofs|vboxsf|fuse.*)$/;
const knownFileSystems: readonly string[] = ['ext4', 'xfs'];
const barriersOff: readonly string[] = ['nobarrier', 'barrier=0', 'fsync_mode=nobarrier'];

/** Judges what is known of a disk. */
export function judgeDiskHygiene(facts: DiskFacts): DiskJudgement {
  const findings = [
    ...fileSystemFindings(facts),
    ...optionFindings(facts),
    ...deviceFindings(facts),
    ...probeFindings(facts),
  ];
  const has = (verdict: DiskHygiene): boolean => findings.some((row) => row.verdict === verdict);
  return { verdict: has('Reject') ? 'Reject' : has('Warn') ? 'Warn' : 'Allow', findings };
}

/** Judges the content of an override file at a time. */
export function judgeDiskOverride(text: string, wallMs: number): OverrideVerdict {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { kind: 'unreadable', reason: 'it is not JSON' };
  }
  const fields = new Map<string, unknown>(Object.entries(parsed ?? {}));
  const word = (name: string): string => {
    const value = fields.get(name);
    return typeof value === 'string' ? value.trim() : '';
  };
  for (const name of ['attestedBy', 'ticket', 'reason', 'expiresAt'])
    if (word(name) === '') return { kind: 'unreadable', reason: `it does not say "${name}"` };
  const expiresAtMs = Date.parse(word('expiresAt'));
  if (!Number.isFinite(expiresAtMs))
    return { kind: 'unreadable', reason: '"expiresAt" is no date, such as 2030-01-31T00:00:00Z' };
  const override = {
    attestedBy: word('attestedBy'),
    ticket: word('ticket'),
    reason: word('reason'),
    expiresAtMs,
  };
  return { kind: wallMs < expiresAtMs ? 'valid' : 'expired', override };
}

function fileSystemFindings({ fileSystem, options, mountPoint }: DiskFacts): DiskFinding[] {
  const named = `${fileSystem} at ${mountPoint}`;
  const local = 'Put the data directory on a local ext4 or XFS file system.';
  if (fileSystem === '')
    return [warn('FileSystemUnknown', 'the mounts of this host cannot be read', local)];
  if (memoryFileSystems.includes(fileSystem))
    return [reject('Memory', `${named} is memory: nothing survives a loss of power`, local)];
  if (remoteFileSystems.test(fileSystem))
    return [
      reject(
        'Remote',
        `${named} is a network or user-space file system: what a sync means there is not known`,
        local,
      ),
    ];
  if (fileSystem === 'overlay' && options.includes('volatile'))
    return [reject('Volatile', `${named} is mounted volatile: it ignores syncs`, local)];
  if (fileSystem === 'overlay')
    return [
      warn('Overlay', `${named} is the layer of a container, and goes with it`, 'Mount a volume.'),
    ];
  if (fileSystem === 'btrfs' || fileSystem === 'zfs')
    return [
      warn(
        'CopyOnWrite',
        `${named} copies on write: what is preallocated may find no room${fileSystem === 'zfs' ? ', and whether it syncs is a property that does not show here' : ''}`,
        fileSystem === 'zfs' ? 'Look that `zfs get sync` says always or standard.' : local,
      ),
    ];
  if (knownFileSystems.includes(fileSystem))
    return [allow('FileSystem', `${named} is one of those that this was built for`)];
  return [warn('FileSystemUntested', `${named} has not been tested`, local)];
}

function optionFindings({ fileSystem, options }: DiskFacts): DiskFinding[] {
  const findings: DiskFinding[] = [];
  const off = options.find((option) => barriersOff.includes(option));
  if (off !== undefined)
    findings.push(
      reject(
        'BarriersOff',
        `it is mounted with ${off}: a sync does not reach the medium`,
        `Remount it without ${off}.`,
      ),
    );
  if (options.includes('ro'))
    findings.push(
      reject(
        'ReadOnly',
        'it is mounted read-only',
        'Look in the kernel log for errors, then remount it.',
      ),
    );
  if (options.includes('data=writeback'))
    findings.push(
      warn(
        'DataWriteback',
        'it is mounted with data=writeback: after a crash new files may hold old blocks',
        'Use data=ordered.',
      ),
    );
  if (fileSystem === 'ext4' && options.includes('noauto_da_alloc'))
    findings.push(
      warn('NoAutoDaAlloc', 'it is mounted with noauto_da_alloc', 'Leave the option out.'),
    );
  return findings;
}

function deviceFindings({ devices, fileSystem }: DiskFacts): DiskFinding[] {
  if (devices.length === 0 && ['ext4', 'xfs', 'btrfs'].includes(fileSystem))
    return [
      warn(
        'StackInconclusive',
        'the devices below it cannot be looked at',
        'Look at their write caches yourself.',
      ),
    ];
  return devices.map((device) => {
    const { name, writeCache, hasFua, isRotational } = device;
    if (/^(ram|zram)\d+$/.test(name))
      return reject(
        'MemoryDevice',
        `${name} is memory: nothing survives a loss of power`,
        'Use a disk.',
      );
    if (/^loop\d+$/.test(name))
      return warn(
        'LoopDevice',
        `${name} is a file of another file system`,
        'Use a disk of its own.',
      );
    if (writeCache === undefined)
      return warn(
        'WriteCacheUnknown',
        `${name} does not say whether it has a write cache`,
        'Look it up.',
      );
    if (isRotational === true && writeCache !== 'write through' && hasFua !== true)
      return allow(
        'Device',
        `${name} has a volatile cache that each sync empties, and may be a spinning disk`,
      );
    return allow(
      'Device',
      `${name}: ${writeCache}${writeCache === 'write back' ? `, emptied at each sync${hasFua === true ? '' : ' by a flush of its own'}` : ''}`,
    );
  });
}

function probeFindings({ probe }: DiskFacts): DiskFinding[] {
  if (probe === undefined)
    return [
      warn(
        'NotProbed',
        'no sync could be timed',
        'Look that the directory can be written and has room.',
      ),
    ];
  const { samples, p50Ms, p99Ms } = probe;
  const times = `${samples} syncs: half within ${p50Ms.toFixed(2)} ms, 99 % within ${p99Ms.toFixed(2)} ms`;
  if (p50Ms < probeP50MsMin)
    return [
      warn(
        'SyncTooFast',
        `${times}: that is too fast to have reached a medium`,
        'Look whether something swallows syncs.',
      ),
    ];
  if (p99Ms > probeP99MsMax)
    return [
      warn(
        'SyncSlow',
        `${times}; more than ${probeP99MsMax} ms`,
        'Each write waits for two syncs; use a faster disk, or leave it to this node alone.',
      ),
    ];
  return [allow('Sync', times)];
}

function allow(finding: string, text: string): DiskFinding {
  return { finding, verdict: 'Allow', text, advice: 'Nothing to do.' };
}

function warn(finding: string, text: string, advice: string): DiskFinding {
  return { finding, verdict: 'Warn', text, advice };
}

function reject(finding: string, text: string, advice: string): DiskFinding {
  return { finding, verdict: 'Reject', text, advice };
}
