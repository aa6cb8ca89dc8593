/** What people and other programs write: JSON files, addresses, names, certificates, commands of the example. */
import {
  encodeRequest,
  RequestParser,
  type ParsedRequest,
} from '../../examples/kv/redis-protocol.ts';
import { valueBytesMax } from '../../examples/kv/kv-commands.ts';
import { utf8Encode } from '../../src/base/bytes.ts';
import { clusterId, nodeId } from '../../src/base/ids.ts';
import { nextBelow, pick, type PrngState } from '../../src/base/prng.ts';
import { configOf } from '../../src/cli/node-config.ts';
import { parseCertificateMaterial } from '../../src/platform/certificate-files.ts';
import { uriNamesOf } from '../../src/platform/peer-certificate.ts';
import { judgeDiskOverride } from '../../src/policy/disk-hygiene.ts';
import { parseAddress } from '../../src/runtime/node-address.ts';
import {
  createDevelopmentCa,
  issueClientCertificate,
  issueNodeCertificate,
} from '../../src/security/development-ca.ts';
import { clientSpiffeId, nodeSpiffeId, parseSpiffeId } from '../../src/security/spiffe.ts';
import { registryBytes, registryOf } from '../../src/storage/node-registry.ts';
import { randomSafe, randomUuid } from './random-message.ts';
import { accepted, demand, demandEqual, refused, type FuzzTarget, type Verdict } from './target.ts';

const cluster = clusterId('40414243-4445-4647-4849-4a4b4c4d4e4f');
const wallMs = 1_760_000_000_000;
/** What is likely to be taken wrongly in JSON. */
export const jsonWords: readonly string[] = [
  ...['null', 'true', '0', '-1', '1e999', '1.5', '9007199254740993', '""', '"\\u0000"', '[]', '{}'],
  ...['[null]', '{"a":1}', '"__proto__"', '"format"', '2', '"x"', ',', ':', '}', ']', '\\', '[[[['],
];

/** The targets of this file. */
export const textTargets: readonly FuzzTarget[] = [
  {
    name: 'node-registry',
    codes: ['CLUSTOR_INTEGRITY', 'CLUSTOR_FORMAT_UNSUPPORTED'],
    inputsPerRound: 10,
    words: jsonWords,
    sample: (random) =>
      registryBytes({
        clusterId: cluster,
        nodeId: nodeId(randomSafe(random)),
        replicas: Array.from({ length: nextBelow(random, 4) }, () => replicaOf(random)),
      }),
    run: (input) => {
      const registry = registryOf(input, '/data');
      demandEqual(
        registryOf(registryBytes(registry), '/data'),
        registry,
        'a registry reads as it was written',
      );
      return accepted(`${Math.min(2, registry.replicas.length)}`);
    },
  },
  {
    name: 'node-config',
    codes: ['CLUSTOR_INVALID_ARGUMENT'],
    inputsPerRound: 10,
    words: jsonWords,
    sample: (random) =>
      jsonOf({
        clusterId: cluster,
        nodeId: 1 + nextBelow(random, 3),
        listen: '127.0.0.1:7400',
        dataDirectory: 'data',
        certificates: {
          certificateFile: 'c.pem',
          privateKeyFile: 'k.pem',
          trustBundleFile: 't.pem',
        },
        ...pick(random, [{}, { product: './p.js', productPort: 1 }, { raft: { leaseMs: 5 } }]),
      }),
    run: (input) => {
      const config = configOf(textOf(input), '/etc/clustor/node.json');
      demand(config.dataDirectory.startsWith('/'), 'paths are absolute');
      demand(Number.isSafeInteger(config.nodeId), 'a node id is a number');
      demand(typeof config.listen === 'string', 'an address is a text');
      return accepted(Object.keys(config).sort().join(' ').slice(0, 200));
    },
  },
  {
    name: 'disk-override',
    codes: [],
    inputsPerRound: 10,
    words: jsonWords,
    sample: (random) =>
      jsonOf({
        attestedBy: 'ops',
        ticket: 'T-1',
        reason: 'a test',
        expiresAt: pick(random, ['2030-01-31T00:00:00Z', '2031-01-31']),
      }),
    run: (input) => {
      const verdict = judgeDiskOverride(textOf(input), wallMs);
      if (verdict.kind === 'unreadable') return refused(verdict.reason.slice(0, 60));
      demand(Number.isFinite(verdict.override.expiresAtMs), 'an override ends');
      demand(verdict.override.attestedBy !== '', 'somebody answers for it');
      return verdict.kind === 'valid' ? accepted('valid') : refused('expired');
    },
  },
  {
    name: 'addresses',
    codes: ['CLUSTOR_INVALID_ARGUMENT'],
    inputsPerRound: 20,
    words: [':', '[', ']', '::1', '65536', '-1', '0x10', '1e3', ' ', '1.5'],
    sample: (random) =>
      utf8Encode(
        `${pick(random, ['127.0.0.1', 'db1.example', '[::1]'])}:${nextBelow(random, 65_536)}`,
      ),
    run: (input) => {
      const text = textOf(input);
      const { host, port } = parseAddress(text);
      demand(host !== '', 'an address names a host');
      demand(/^.*:\d{1,5}$/s.test(text) && port <= 65_535, 'a port is written in digits');
      return accepted(host.includes(':') ? 'six' : 'four');
    },
  },
  {
    name: 'spiffe-ids',
    codes: [],
    inputsPerRound: 20,
    words: [
      '/',
      '..',
      '%2e',
      '?',
      '#',
      'node',
      'client',
      'operator',
      '00',
      '\n',
      cluster.toUpperCase(),
    ],
    sample: (random) =>
      utf8Encode(
        pick(random, [
          nodeSpiffeId(cluster, nodeId(randomSafe(random))),
          clientSpiffeId(cluster, pick(random, ['client', 'operator', 'observer']), 'a.b-c_1'),
        ]),
      ),
    run: (input) => {
      const text = textOf(input);
      const identity = parseSpiffeId(text);
      if (identity === undefined) return refused('none');
      const again =
        identity.kind === 'node'
          ? nodeSpiffeId(identity.clusterId, identity.nodeId)
          : clientSpiffeId(identity.clusterId, identity.role, identity.name);
      demand(again === text && identity.spiffeId === text, 'an identity has one spelling');
      return accepted(identity.kind === 'node' ? 'node' : identity.role);
    },
  },
  {
    name: 'certificate-names',
    codes: [],
    inputsPerRound: 20,
    words: ['URI:', 'DNS:', ', ', '"', '\\', 'IP Address:', 'spiffe://clustor/'],
    sample: (random) =>
      utf8Encode(
        `URI:${nodeSpiffeId(cluster, nodeId(1))}, DNS:localhost${pick(random, ['', ', IP Address:127.0.0.1', ', URI:"a\\u002c DNS:b"'])}`,
      ),
    run: (input) => {
      const uris = uriNamesOf(textOf(input));
      if (uris === undefined) return refused('no grammar');
      const known = uris.filter((uri) => parseSpiffeId(uri) !== undefined).length;
      return accepted(`${Math.min(3, uris.length)} ${Math.min(2, known)}`);
    },
  },
  await certificateTarget(),
  {
    name: 'redis-requests',
    codes: [],
    inputsPerRound: 20,
    words: ['*', '$', '\r\n', '-1', '99999999999', '0', '"', "'", '\\x', '*1048577', '*1048576'],
    sample: (random) => {
      const requests = Array.from({ length: 1 + nextBelow(random, 4) }, () =>
        pick(random, [
          encodeRequest(['SET', 'key', `${nextBelow(random, 1000)}`.repeat(nextBelow(random, 9))]),
          encodeRequest(['PING']),
          'GET "a\\x00b" \'c\'\r\n',
        ]),
      );
      return Buffer.from(requests.join(''), 'latin1');
    },
    run: runRequests,
  },
];

async function certificateTarget(): Promise<FuzzTarget> {
  const authority = await createDevelopmentCa({ clusterId: cluster, wallMs, lifetimeMs: 1e10 });
  const common = { authority, wallMs, lifetimeMs: 86_400_000, clusterId: cluster };
  const issued = [
    await issueNodeCertificate({ ...common, nodeId: nodeId(1), hosts: [] }),
    await issueClientCertificate({ ...common, role: 'operator', name: 'a' }),
  ];
  return {
    name: 'certificates',
    codes: ['CLUSTOR_INVALID_ARGUMENT', 'CLUSTOR_CERTIFICATE_EXPIRED'],
    inputsPerRound: 2,
    words: ['-----BEGIN CERTIFICATE-----', '-----END CERTIFICATE-----', '\n', '=', '\u0000'],
    // Keys are made anew in each process, so these inputs differ from run to run; a finding shows its own.
    sample: (random) => {
      const { certificatePem, privateKeyPem } = pick(random, issued);
      return utf8Encode([certificatePem, privateKeyPem, authority.certificatePem].join('%'));
    },
    run: (input) => {
      const [certificate = '', privateKey = '', trustBundle = ''] = textOf(input).split('%');
      const material = parseCertificateMaterial({ certificate, privateKey, trustBundle, wallMs });
      demand(material.identity.clusterId === cluster, 'nobody becomes somebody else');
      demand(material.notAfterMs > material.notBeforeMs, 'a certificate has a time');
      return accepted(material.identity.kind);
    },
  };
}

function replicaOf(random: PrngState): Parameters<typeof registryBytes>[0]['replicas'][number] {
  const row = {
    partitionId: randomUuid(random),
    replicaId: randomSafe(random),
    incarnation: randomUuid(random),
  };
  return row as ReturnType<typeof replicaOf>;
}

function jsonOf(value: object): Uint8Array {
  return utf8Encode(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** A file as `readFile(…, 'utf8')` gives it. */
function textOf(input: Uint8Array): string {
  return Buffer.from(input).toString('utf8');
}

/** Requests come out the same however the stream is cut, and mean the same when they are written as arrays. */
function runRequests(input: Uint8Array): Verdict {
  const whole = requestsOf([Buffer.from(input)]);
  const size = 1 + ((input[0] ?? 0) % 7);
  const chunks: Buffer[] = [];
  for (let at = 0; at < input.length; at += size)
    chunks.push(Buffer.from(input.subarray(at, at + size)));
  demandEqual(requestsOf(chunks), whole, 'a stream means the same however it is cut');
  let isRefused = whole.length === 0;
  for (const parsed of whole) {
    if (parsed.kind === 'protocolError') {
      isRefused = true;
      continue;
    }
    demand(
      parsed.words.every((word) => word.length <= valueBytesMax),
      'a word has its maximum',
    );
    const [again] = requestsOf([Buffer.from(encodeRequest(parsed.words), 'latin1')]);
    demandEqual(
      again?.kind === 'request' ? again.words : undefined,
      parsed.words,
      'a request reads as it was written',
    );
  }
  const last = whole.at(-1);
  const shape =
    last?.kind === 'protocolError' ? last.text.slice(0, 60) : `${Math.min(4, whole.length)}`;
  return isRefused ? refused(shape) : accepted(shape);
}

function requestsOf(chunks: readonly Buffer[]): readonly ParsedRequest[] {
  const parser = new RequestParser();
  const requests: ParsedRequest[] = [];
  for (const chunk of chunks) {
    parser.push(chunk);
    for (let next = parser.next(); next !== undefined; next = parser.next()) requests.push(next);
  }
  return requests;
}
