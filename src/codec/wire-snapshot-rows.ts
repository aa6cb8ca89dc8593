/**
 * Rows of the wire catalog that carry snapshots to replicas whose log lacks what nobody keeps as entries any more. The
 * receiver asks, part by part; part 0 is the manifest, which says what every other part has to be.
 */

/** Messages 0x60–0x6F. */
export const wireSnapshotRows = [
  {
    id: 0x60,
    kind: 'snapshotRequest',
    class: 'oneWay',
    scope: 'partition',
    audience: 'node',
    bodyBytesMax: 4_096,
    fields: [
      { name: 'fromReplica', type: 'replicaId' },
      { name: 'fromIncarnation', type: 'incarnation' },
      { name: 'sequence', type: 'u64' },
      { name: 'minIndex', type: 'logIndex' },
      { name: 'baseIndex', type: 'logIndex' },
      { name: 'baseTerm', type: 'term' },
      { name: 'part', type: 'u32' },
    ],
  },
  {
    id: 0x61,
    kind: 'snapshotResponse',
    class: 'oneWay',
    scope: 'partition',
    audience: 'node',
    bodyBytesMax: 4_194_304,
    fields: [
      { name: 'fromReplica', type: 'replicaId' },
      { name: 'fromIncarnation', type: 'incarnation' },
      { name: 'sequence', type: 'u64' },
      { name: 'outcome', type: 'enum', values: ['part', 'none', 'gone', 'damaged', 'busy'] },
      { name: 'baseIndex', type: 'logIndex' },
      { name: 'baseTerm', type: 'term' },
      { name: 'part', type: 'u32' },
      { name: 'content', type: 'rest' },
    ],
  },
] as const;
