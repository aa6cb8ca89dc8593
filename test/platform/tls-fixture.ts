/** Certificates, transports and strangers for the tests of the TLS transport; all sockets are real. */
import { spawn } from 'node:child_process';
import { connect, type ConnectionOptions } from 'node:tls';

import { clusterId, nodeId, type ClusterId } from '../../src/base/ids.ts';
import {
  parseCertificateMaterial,
  type CertificateMaterial,
} from '../../src/platform/certificate-files.ts';
import {
  openCertificateKeeper,
  type CertificateKeeper,
} from '../../src/platform/certificate-keeper.ts';
import {
  openTlsTransport,
  type TlsTransport,
  type TlsTransportOptions,
} from '../../src/platform/tls-transport.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { ObservedEvent, Observer } from '../../src/ports/observer.ts';
import type {
  CloseReason,
  Connection,
  ConnectionHandlers,
  DialOutcome,
  NodeAddress,
} from '../../src/ports/transport.ts';
import {
  createDevelopmentCa,
  issueCertificate,
  issueClientCertificate,
  issueNodeCertificate,
  type CertificateAuthority,
  type IssuedCertificate,
  type NodeCertificateOptions,
} from '../../src/security/development-ca.ts';

export const hourMs = 3_600_000;
export const home: ClusterId = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
export const elsewhere: ClusterId = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0002');

export const realClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
  endOfTurn: (callback) => void setImmediate(callback),
};

export class EventList implements Observer {
  readonly events: ObservedEvent[] = [];

  emit(event: ObservedEvent): void {
    this.events.push(event);
  }

  get refusalCodes(): readonly unknown[] {
    return this.events
      .filter(({ kind }) => kind === 'connectionRefused')
      .map(({ fields }) => fields['code']);
  }
}

export async function waitUntil(what: string, condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 5_000; !condition();) {
    if (Date.now() > deadline) throw new Error(`in vain waited until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A moment longer than anything on loopback takes, for what must not happen. */
export function moment(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 150));
}

/** The authorities and certificates that the tests play with. */
export class Certificates {
  readonly authority: CertificateAuthority;
  readonly foreignAuthority: CertificateAuthority;

  private constructor(authority: CertificateAuthority, foreignAuthority: CertificateAuthority) {
    this.authority = authority;
    this.foreignAuthority = foreignAuthority;
  }

  static async create(): Promise<Certificates> {
    const options = { clusterId: home, wallMs: Date.now() - 24 * hourMs, lifetimeMs: 48 * hourMs };
    return new Certificates(await createDevelopmentCa(options), await createDevelopmentCa(options));
  }

  node(id: number, changes: Partial<NodeCertificateOptions> = {}): Promise<IssuedCertificate> {
    return issueNodeCertificate({
      authority: this.authority,
      clusterId: home,
      nodeId: nodeId(id),
      hosts: [],
      wallMs: Date.now(),
      lifetimeMs: hourMs,
      ...changes,
    });
  }

  client(name: string): Promise<IssuedCertificate> {
    const { authority } = this;
    const times = { wallMs: Date.now(), lifetimeMs: hourMs };
    return issueClientCertificate({ authority, clusterId: home, role: 'client', name, ...times });
  }

  withUris(...uris: string[]): Promise<IssuedCertificate> {
    const { authority } = this;
    const names = { commonName: 'names', uris, hosts: ['localhost'], server: true };
    return issueCertificate({ authority, ...names, wallMs: Date.now(), lifetimeMs: hourMs });
  }

  expired(id: number): Promise<IssuedCertificate> {
    return this.node(id, { wallMs: Date.now() - 3 * hourMs });
  }

  /** Material for a transport; `wallMs` in the past makes an expired one pass the check at loading. */
  material(issued: IssuedCertificate, wallMs = Date.now()): CertificateMaterial {
    return parseCertificateMaterial({
      certificate: issued.certificatePem,
      privateKey: issued.privateKeyPem,
      trustBundle: this.authority.certificatePem,
      wallMs,
    });
  }
}

/** Everything that a test opened, closed in one go. */
export class Opened {
  readonly #closers: (() => void | Promise<void>)[] = [];

  async keeper(material: CertificateMaterial): Promise<CertificateKeeper> {
    const keeper = await openCertificateKeeper({
      load: () => Promise.resolve(material),
      clock: realClock,
      observer: new EventList(),
    });
    this.#closers.push(() => keeper.close());
    return keeper;
  }

  transport(
    options: Omit<TlsTransportOptions, 'clock'> & { readonly clock?: Clock },
  ): TlsTransport {
    const transport = openTlsTransport({ clock: realClock, ...options });
    this.#closers.push(() => transport.close());
    return transport;
  }

  onClose(closer: () => void | Promise<void>): void {
    this.#closers.push(closer);
  }

  async close(): Promise<void> {
    for (const closer of this.#closers.splice(0).reverse()) await closer();
  }
}

/** A listener that writes down what it is told. */
export class Recorder implements ConnectionHandlers {
  readonly chunks: Uint8Array[] = [];
  readonly reasons: CloseReason[] = [];
  drainedCount = 0;
  connection: Connection | undefined;

  /** For `accept` and `handlers`. */
  readonly take = (connection: Connection): ConnectionHandlers => {
    this.connection = connection;
    return this;
  };

  data(chunk: Uint8Array): void {
    this.chunks.push(chunk);
  }

  closed(reason: CloseReason): void {
    this.reasons.push(reason);
  }

  drained(): void {
    this.drainedCount++;
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }

  get byteCount(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }
}

export function dial(
  transport: TlsTransport,
  address: NodeAddress,
  options: { readonly expected?: number; readonly recorder?: Recorder } = {},
): Promise<DialOutcome> {
  const { expected, recorder = new Recorder() } = options;
  const node = expected === undefined ? undefined : nodeId(expected);
  return new Promise((resolve) => {
    transport.dial({ address, expected: node, handlers: recorder.take }, resolve);
  });
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Node's TLS without the product: a stranger that trusts anybody, and what it hears. */
export async function strangerHears(
  address: NodeAddress,
  options: ConnectionOptions,
): Promise<string> {
  const heard: Buffer[] = [];
  const socket = connect({
    ...address,
    rejectUnauthorized: false,
    ALPNProtocols: ['clustor/1'],
    ...options,
  });
  socket.on('secureConnect', () => socket.write('hello?'));
  socket.on('data', (chunk: Buffer) => heard.push(chunk));
  socket.on('error', () => {});
  await new Promise<void>((resolve) => socket.on('close', () => resolve()));
  return Buffer.concat(heard).toString();
}

/** Runs `openssl s_client -quiet`, sends a line, and gives its standard output: the application bytes it received. */
export async function opensslHears(
  address: NodeAddress,
  options: readonly string[],
): Promise<string> {
  const target = `${address.host}:${address.port}`;
  const child = spawn(
    'openssl',
    ['s_client', '-connect', target, '-quiet', '-tls1_3', ...options],
    {
      stdio: ['pipe', 'pipe', 'ignore'],
    },
  );
  const heard: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => heard.push(chunk));
  child.stdin.on('error', () => {});
  child.stdin.write('hello?\n');
  await new Promise<void>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => resolve());
  });
  return Buffer.concat(heard).toString();
}
