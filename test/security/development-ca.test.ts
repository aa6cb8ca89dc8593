import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { beforeAll, describe, expect, test } from 'vitest';

import { clusterId, nodeId } from '../../src/base/ids.ts';
import {
  createDevelopmentCa,
  issueCertificate,
  issueClientCertificate,
  issueNodeCertificate,
  type CertificateAuthority,
} from '../../src/security/development-ca.ts';

const cluster = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
const wallMs = Date.parse('2026-03-01T12:00:00Z');
const hourMs = 3_600_000;

let authority: CertificateAuthority;

beforeAll(async () => {
  const lifetimeMs = 365 * 24 * hourMs;
  authority = await createDevelopmentCa({ clusterId: cluster, wallMs, lifetimeMs });
});

/** What the OpenSSL command line says about a certificate. */
function opensslText(pem: string): string {
  const { stdout, status } = spawnSync('openssl', ['x509', '-noout', '-text'], { input: pem });
  expect(status).toBe(0);
  return stdout.toString();
}

function opensslVerifies(pem: string, purpose: string): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'clustor-ca-'));
  try {
    const [caFile, leafFile] = [join(folder, 'ca.pem'), join(folder, 'leaf.pem')];
    writeFileSync(caFile, authority.certificatePem);
    writeFileSync(leafFile, pem);
    const time = String(wallMs / 1000);
    const options = ['-x509_strict', '-attime', time, '-purpose', purpose, '-CAfile', caFile];
    return spawnSync('openssl', ['verify', ...options, leafFile]).status === 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const node = { clusterId: cluster, nodeId: nodeId(7), hosts: ['node7.example', '10.0.0.7', '::1'] };

describe('the development CA', () => {
  test('the authority issues leaves only, on P-256', () => {
    const text = opensslText(authority.certificatePem);

    expect(text).toContain('X509v3 Basic Constraints: critical');
    expect(text).toContain('CA:TRUE, pathlen:0');
    expect(text).toMatch(/X509v3 Key Usage: critical\s+Certificate Sign, CRL Sign/);
    expect(text).toContain('prime256v1');
  });

  test('a node certificate names the node and its hosts and serves both sides', async () => {
    const issued = await issueNodeCertificate({ authority, ...node, wallMs, lifetimeMs: hourMs });
    const text = opensslText(issued.certificatePem);

    expect(text).toMatch(/X509v3 Basic Constraints: critical\s+CA:FALSE/);
    expect(text).toMatch(/X509v3 Key Usage: critical\s+Digital Signature/);
    expect(text).toContain('TLS Web Client Authentication, TLS Web Server Authentication');
    expect(new X509Certificate(issued.certificatePem).subjectAltName).toBe(
      `URI:spiffe://clustor/${cluster}/node/7, DNS:localhost, IP Address:127.0.0.1, ` +
        'DNS:node7.example, IP Address:10.0.0.7, IP Address:0:0:0:0:0:0:0:1',
    );
    expect(opensslVerifies(issued.certificatePem, 'sslserver')).toBe(true);
    expect(opensslVerifies(issued.certificatePem, 'sslclient')).toBe(true);
  });

  test('a client certificate names the client alone and cannot serve', async () => {
    const client = { clusterId: cluster, role: 'operator', name: 'ada' } as const;
    const times = { wallMs, lifetimeMs: hourMs };
    const issued = await issueClientCertificate({ authority, ...client, ...times });

    expect(new X509Certificate(issued.certificatePem).subjectAltName).toBe(
      `URI:spiffe://clustor/${cluster}/client/operator/ada`,
    );
    expect(opensslVerifies(issued.certificatePem, 'sslclient')).toBe(true);
    expect(opensslVerifies(issued.certificatePem, 'sslserver')).toBe(false);
  });

  test('a certificate is valid from a minute before its issue until its lifetime is over', async () => {
    const issued = await issueNodeCertificate({ authority, ...node, wallMs, lifetimeMs: hourMs });
    const certificate = new X509Certificate(issued.certificatePem);

    expect(Date.parse(certificate.validFrom)).toBe(wallMs - 60_000);
    expect(Date.parse(certificate.validTo)).toBe(wallMs + hourMs);
  });

  test('two authorities of one cluster do not vouch for each other', async () => {
    const other = await createDevelopmentCa({ clusterId: cluster, wallMs, lifetimeMs: hourMs });
    const options = { authority: other, ...node, wallMs, lifetimeMs: hourMs };
    const issued = await issueNodeCertificate(options);

    expect(opensslVerifies(issued.certificatePem, 'sslserver')).toBe(false);
  });

  test('leaves live a day at most', async () => {
    const issue = issueNodeCertificate({ authority, ...node, wallMs, lifetimeMs: 25 * hourMs });

    await expect(issue).rejects.toMatchObject({ code: 'CLUSTOR_INVALID_ARGUMENT' });
  });

  test('an authority that cannot be read is an invalid argument', async () => {
    const broken = { certificatePem: 'nonsense', privateKeyPem: authority.privateKeyPem };
    const names = { commonName: 'x', uris: [], hosts: [], server: false };
    const issue = issueCertificate({ authority: broken, ...names, wallMs, lifetimeMs: hourMs });

    await expect(issue).rejects.toMatchObject({ code: 'CLUSTOR_INVALID_ARGUMENT' });
  });
});
