import { describe, expect, test } from 'vitest';

import {
  judgeDiskHygiene,
  judgeDiskOverride,
  type DeviceFacts,
  type DiskFacts,
} from '../../src/policy/disk-hygiene.ts';

const disk: DeviceFacts = {
  name: 'nvme0n1',
  writeCache: 'write back',
  hasFua: true,
  isRotational: false,
  serial: 'S1',
};

const good: DiskFacts = {
  fileSystem: 'ext4',
  mountPoint: '/data',
  options: ['rw', 'relatime'],
  devices: [disk],
  probe: { samples: 128, p50Ms: 0.3, p99Ms: 2, maxMs: 5 },
};

const probe = (p50Ms: number, p99Ms: number): DiskFacts['probe'] => ({
  samples: 128,
  p50Ms,
  p99Ms,
  maxMs: p99Ms,
});

describe('a disk', () => {
  const rows: readonly (readonly [string, Partial<DiskFacts>, string, string])[] = [
    ['as it should be', {}, 'Allow', ''],
    ['on XFS', { fileSystem: 'xfs' }, 'Allow', ''],
    ['on tmpfs', { fileSystem: 'tmpfs', devices: [] }, 'Reject', 'Memory'],
    ['on ramfs', { fileSystem: 'ramfs', devices: [] }, 'Reject', 'Memory'],
    ['on NFS', { fileSystem: 'nfs4', devices: [] }, 'Reject', 'Remote'],
    ['on SMB', { fileSystem: 'cifs', devices: [] }, 'Reject', 'Remote'],
    ['on FUSE', { fileSystem: 'fuse.sshfs', devices: [] }, 'Reject', 'Remote'],
    ['on 9p', { fileSystem: '9p', devices: [] }, 'Reject', 'Remote'],
    ['on overlay', { fileSystem: 'overlay', devices: [] }, 'Warn', 'Overlay'],
    [
      'on a volatile overlay',
      { fileSystem: 'overlay', options: ['volatile'] },
      'Reject',
      'Volatile',
    ],
    ['on ZFS', { fileSystem: 'zfs', devices: [] }, 'Warn', 'CopyOnWrite'],
    ['on btrfs', { fileSystem: 'btrfs' }, 'Warn', 'CopyOnWrite'],
    ['on a file system nobody tried', { fileSystem: 'f2fs' }, 'Warn', 'FileSystemUntested'],
    ['that nothing is known of', { fileSystem: '', devices: [] }, 'Warn', 'FileSystemUnknown'],
    ['without barriers', { options: ['rw', 'nobarrier'] }, 'Reject', 'BarriersOff'],
    ['with barrier=0', { options: ['rw', 'barrier=0'] }, 'Reject', 'BarriersOff'],
    [
      'on f2fs without barriers',
      { fileSystem: 'f2fs', options: ['fsync_mode=nobarrier'] },
      'Reject',
      'BarriersOff',
    ],
    ['that is read-only', { options: ['ro'] }, 'Reject', 'ReadOnly'],
    ['with data=writeback', { options: ['data=writeback'] }, 'Warn', 'DataWriteback'],
    ['with data=ordered', { options: ['data=ordered'] }, 'Allow', ''],
    ['with noauto_da_alloc', { options: ['noauto_da_alloc'] }, 'Warn', 'NoAutoDaAlloc'],
    ['on devices that do not show', { devices: [] }, 'Warn', 'StackInconclusive'],
    [
      'in memory that plays a device',
      { devices: [{ ...disk, name: 'zram0' }] },
      'Reject',
      'MemoryDevice',
    ],
    ['on a loop device', { devices: [{ ...disk, name: 'loop3' }] }, 'Warn', 'LoopDevice'],
    [
      'whose cache is not known',
      { devices: [{ ...disk, writeCache: undefined }] },
      'Warn',
      'WriteCacheUnknown',
    ],
    ['with a volatile cache and no FUA', { devices: [{ ...disk, hasFua: false }] }, 'Allow', ''],
    [
      'with one bad device of two',
      { devices: [disk, { ...disk, name: 'ram0' }] },
      'Reject',
      'MemoryDevice',
    ],
    ['that was not probed', { probe: undefined }, 'Warn', 'NotProbed'],
    ['that syncs within 20 ms', { probe: probe(3, 20) }, 'Allow', ''],
    ['that syncs more slowly', { probe: probe(3, 20.1) }, 'Warn', 'SyncSlow'],
    ['that syncs in no time', { probe: probe(0.001, 0.01) }, 'Warn', 'SyncTooFast'],
  ];

  test.each(rows)('%s', (_what, changed, verdict, finding) => {
    const judgement = judgeDiskHygiene({ ...good, ...changed });
    const reasons = judgement.findings.filter((row) => row.verdict === verdict);

    expect(judgement.verdict).toBe(verdict);
    if (verdict !== 'Allow') expect(reasons.map((row) => row.finding)).toContain(finding);
    for (const row of judgement.findings)
      expect(row.text.length * row.advice.length).toBeGreaterThan(0);
  });
});

describe('an override', () => {
  const wallMs = Date.UTC(2026, 5, 1);
  const whole = {
    attestedBy: 'Ada',
    ticket: 'OPS-1',
    reason: 'a test bench',
    expiresAt: '2026-06-02T00:00:00Z',
  };

  test('counts until it expires', () => {
    const text = JSON.stringify(whole);

    expect(judgeDiskOverride(text, wallMs).kind).toBe('valid');
    expect(judgeDiskOverride(text, Date.UTC(2026, 5, 2) - 1).kind).toBe('valid');
    expect(judgeDiskOverride(text, Date.UTC(2026, 5, 2)).kind).toBe('expired');
  });

  test.each(['attestedBy', 'ticket', 'reason', 'expiresAt'])(
    'does not count without %s',
    (name) => {
      expect(judgeDiskOverride(JSON.stringify({ ...whole, [name]: ' ' }), wallMs)).toMatchObject({
        kind: 'unreadable',
        reason: expect.stringContaining(name) as string,
      });
    },
  );

  test.each(['', 'null', '[]', '7', '{', JSON.stringify({ ...whole, expiresAt: 'soon' })])(
    'that reads %j does not count',
    (text) => {
      expect(judgeDiskOverride(text, wallMs).kind).toBe('unreadable');
    },
  );
});
