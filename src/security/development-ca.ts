/**
 * A certificate authority for development and small installations.
 *
 * One self-signed authority per cluster (ECDSA P-256, path length 0: it issues leaves only) and short-lived leaves whose
 * one URI name is the SPIFFE id (see `spiffe.ts`). Nodes both listen and dial, so theirs serve both sides; clients only
 * dial. Nothing here touches a disk: keys and certificates come and go as PEM text and the caller keeps them.
 *
 * A leaf begins a minute before it is issued, so that a peer whose clock lags a little accepts it at once.
 *
 * The X.509 library is large and only needed when something is issued; it is loaded on first use.
 */
import { ClustorError } from '../base/errors.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import type { ClientRole } from '../ports/transport.ts';
import { clientSpiffeId, nodeSpiffeId } from './spiffe.ts';

type X509Library = typeof import('@peculiar/x509');

/** How far before its issue a certificate becomes valid, in milliseconds. */
const backdateMs = 60_000;
/** Leaves live at most a day (specification §11). */
const longestLeafLifetimeMs = 86_400_000;

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' } as const;

/** An authority: whoever holds the private key can issue certificates of the cluster. @public */
export interface CertificateAuthority {
  /** The self-signed certificate: the trust bundle of the cluster. */
  readonly certificatePem: string;
  /** PKCS #8; keep it readable for its owner only. */
  readonly privateKeyPem: string;
}

/** A leaf certificate with its private key. @public */
export interface IssuedCertificate {
  readonly certificatePem: string;
  /** PKCS #8. */
  readonly privateKeyPem: string;
}

/** What every issue needs. @public */
export interface IssueOptions {
  readonly authority: CertificateAuthority;
  /** Milliseconds since 1970 at which the certificate is issued. */
  readonly wallMs: number;
  /** Milliseconds from `wallMs` until the certificate expires; at most a day. */
  readonly lifetimeMs: number;
}

/** Options of {@link createDevelopmentCa}. @public */
export interface DevelopmentCaOptions {
  readonly clusterId: ClusterId;
  /** Milliseconds since 1970 at which the authority is made. */
  readonly wallMs: number;
  /** Milliseconds from `wallMs` until the authority expires. */
  readonly lifetimeMs: number;
}

/** Options of {@link issueNodeCertificate}. @public */
export interface NodeCertificateOptions extends IssueOptions {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  /** DNS names and IP addresses beside `localhost` and `127.0.0.1`. */
  readonly hosts: readonly string[];
}

/** Options of {@link issueClientCertificate}. @public */
export interface ClientCertificateOptions extends IssueOptions {
  readonly clusterId: ClusterId;
  readonly role: ClientRole;
  readonly name: string;
}

/** Options of {@link issueCertificate}. @public */
export interface LeafCertificateOptions extends IssueOptions {
  /** Common name of the subject, for people; decides nothing. */
  readonly commonName: string;
  /** URI names: of a valid identity exactly one SPIFFE id. */
  readonly uris: readonly string[];
  /** DNS names and IP addresses. */
  readonly hosts: readonly string[];
  /** Whether the holder may listen, and not only dial. */
  readonly server: boolean;
  /** Milliseconds since 1970 from which the certificate is valid; a minute before `wallMs` unless given. */
  readonly notBeforeMs?: number;
}

async function loadX509Library(): Promise<X509Library> {
  // The library's dependency injection reads decorator metadata, which this import provides; it must come first.
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

function checkLifetime(lifetimeMs: number, longestMs: number): void {
  if (!(lifetimeMs >= 1000 && lifetimeMs <= longestMs)) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `a certificate's lifetime must be from 1000 to ${longestMs} ms, got ${lifetimeMs}`,
    );
  }
}

/** Text in a distinguished name: what is no letter, digit, dot, dash or space is left out. */
function nameText(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9 ._-]/g, '').slice(0, 64);
}

function generalName(host: string): { readonly type: 'dns' | 'ip'; readonly value: string } {
  const address = /^\d{1,3}(\.\d{1,3}){3}$/.test(host) || host.includes(':');
  return { type: address ? 'ip' : 'dns', value: host };
}

/** Makes the authority of a cluster; each call makes another one. @public */
export async function createDevelopmentCa(
  options: DevelopmentCaOptions,
): Promise<CertificateAuthority> {
  const { clusterId, wallMs, lifetimeMs } = options;
  checkLifetime(lifetimeMs, Number.MAX_SAFE_INTEGER);
  const x509 = await loadX509Library();
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=clustor ${clusterId}`,
    keys,
    notBefore: new Date(wallMs - backdateMs),
    notAfter: new Date(wallMs + lifetimeMs),
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const privateKey = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    certificatePem: `${certificate.toString('pem')}\n`,
    privateKeyPem: `${x509.PemConverter.encode(privateKey, 'PRIVATE KEY')}\n`,
  };
}

/** The certificate of a node, good for listening and for dialing. @public */
export async function issueNodeCertificate(
  options: NodeCertificateOptions,
): Promise<IssuedCertificate> {
  const { clusterId, nodeId, hosts } = options;
  return issueCertificate({
    ...options,
    commonName: `node ${nodeId}`,
    uris: [nodeSpiffeId(clusterId, nodeId)],
    hosts: [...new Set(['localhost', '127.0.0.1', ...hosts])],
    server: true,
  });
}

/** The certificate of a client, good for dialing only. @public */
export async function issueClientCertificate(
  options: ClientCertificateOptions,
): Promise<IssuedCertificate> {
  const { clusterId, role, name } = options;
  return issueCertificate({
    ...options,
    commonName: `${role} ${name}`,
    uris: [clientSpiffeId(clusterId, role, name)],
    hosts: [],
    server: false,
  });
}

/**
 * A leaf with any names: what the two functions above are made of.
 *
 * @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` when the lifetime is out of bounds or the authority cannot be read.
 */
export async function issueCertificate(
  options: LeafCertificateOptions,
): Promise<IssuedCertificate> {
  const { authority, wallMs, lifetimeMs } = options;
  checkLifetime(lifetimeMs, longestLeafLifetimeMs);
  const x509 = await loadX509Library();
  const { certificate: issuer, signingKey } = await readAuthority(x509, authority);
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  const names = [
    ...options.uris.map((value) => ({ type: 'url' as const, value })),
    ...options.hosts.map(generalName),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    subject: `CN=${nameText(options.commonName)}`,
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey,
    notBefore: new Date(options.notBeforeMs ?? wallMs - backdateMs),
    notAfter: new Date(wallMs + lifetimeMs),
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(options.server ? [clientAuth, serverAuth] : [clientAuth]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
    ],
  });
  const privateKey = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    certificatePem: `${certificate.toString('pem')}\n`,
    privateKeyPem: `${x509.PemConverter.encode(privateKey, 'PRIVATE KEY')}\n`,
  };
}

type SigningKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;
type LibraryCertificate = InstanceType<X509Library['X509Certificate']>;

async function readAuthority(
  x509: X509Library,
  authority: CertificateAuthority,
): Promise<{ readonly certificate: LibraryCertificate; readonly signingKey: SigningKey }> {
  try {
    const certificate = new x509.X509Certificate(authority.certificatePem);
    const pkcs8 = x509.PemConverter.decodeFirst(authority.privateKeyPem);
    const signingKey = await crypto.subtle.importKey('pkcs8', pkcs8, keyAlgorithm, false, ['sign']);
    return { certificate, signingKey };
  } catch (error) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      'the certificate authority cannot be read: a PEM certificate and a PEM key (PKCS #8, P-256) are needed',
      { cause: error },
    );
  }
}
