/** The text of INFO. */

/** How this node's replica of the partition stands. */
export interface ReplicationStatus {
  readonly nodeId: number;
  readonly role: string;
  readonly leaderId: number | undefined;
  /** `host:port` of the leader for peers, if known. */
  readonly leaderAddress: string | undefined;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
}

/** What INFO tells. */
export interface InfoFacts {
  readonly port: number;
  readonly uptimeMs: number;
  readonly connectionCount: number;
  readonly connectionCountMax: number;
  readonly commandCount: number;
  readonly keyCount: number;
  readonly partitionId: string;
  readonly replication: ReplicationStatus;
}

type Fields = readonly (readonly [name: string, value: string | number])[];

/** Version of the command set that clients may expect. */
export const redisVersion = '7.0.0';

/** The sections named (all without names), as `# Section` and `name:value` lines. */
export function describeNode(facts: InfoFacts, sectionNames: readonly string[]): string {
  const wanted = new Set(sectionNames.map((name) => name.toLowerCase()));
  const isAll =
    wanted.size === 0 || ['all', 'default', 'everything'].some((name) => wanted.has(name));
  return sectionsOf(facts)
    .filter(([name]) => isAll || wanted.has(name.toLowerCase()))
    .map(([name, fields]) => `# ${name}\r\n${linesOf(fields)}`)
    .join('\r\n');
}

function linesOf(fields: Fields): string {
  return fields.map(([name, value]) => `${name}:${value}\r\n`).join('');
}

function sectionsOf(facts: InfoFacts): readonly (readonly [string, Fields])[] {
  const { replication } = facts;
  const memory = process.memoryUsage();
  return [
    [
      'Server',
      [
        ['redis_version', redisVersion],
        ['server_name', 'clustor-kv'],
        ['redis_mode', 'standalone'],
        ['process_id', process.pid],
        ['tcp_port', facts.port],
        ['uptime_in_seconds', Math.floor(facts.uptimeMs / 1000)],
      ],
    ],
    [
      'Clients',
      [
        ['connected_clients', facts.connectionCount],
        ['maxclients', facts.connectionCountMax],
      ],
    ],
    [
      'Memory',
      [
        ['used_memory', memory.heapUsed + memory.external],
        ['used_memory_rss', memory.rss],
      ],
    ],
    ['Persistence', [['loading', 0]]],
    ['Stats', [['total_commands_processed', facts.commandCount]]],
    [
      'Replication',
      [
        ['role', replication.role],
        ['node_id', replication.nodeId],
        ['leader_id', replication.leaderId ?? ''],
        ['leader_address', replication.leaderAddress ?? ''],
      ],
    ],
    [
      'Clustor',
      [
        ['partition_id', facts.partitionId],
        ['term', replication.term],
        ['commit_index', replication.commitIndex],
        ['applied_index', replication.appliedIndex],
      ],
    ],
    [
      'Keyspace',
      facts.keyCount === 0 ? [] : [['db0', `keys=${facts.keyCount},expires=0,avg_ttl=0`]],
    ],
  ];
}
