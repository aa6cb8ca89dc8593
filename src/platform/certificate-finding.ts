/** Whether a node's certificate files can be used, and for how long still. */
import { messageOf } from '../base/errors.ts';
import type { DiskFinding } from '../policy/disk-hygiene.ts';
import { loadCertificateFiles, type CertificateFiles } from './certificate-files.ts';

const hourMs = 3_600_000;
/** Below this it should have been renewed. */
const soonMs = 2 * hourMs;

/** Looks at the files as a node that starts does. */
export async function certificateFinding(
  files: CertificateFiles,
  wallMs: number,
): Promise<DiskFinding> {
  const renew = 'Renew it; `clustor up` does so at every start.';
  try {
    const { notAfterMs, notBeforeMs } = await loadCertificateFiles(files);
    const until = new Date(notAfterMs).toISOString();
    if (wallMs >= notAfterMs || wallMs < notBeforeMs)
      return reject(`the certificate is valid until ${until} only, or not yet`, renew);
    const text = `the certificate is valid until ${until}`;
    return wallMs > notAfterMs - soonMs
      ? { finding: 'Certificate', verdict: 'Warn', text, advice: renew }
      : { finding: 'Certificate', verdict: 'Allow', text, advice: 'Nothing to do.' };
  } catch (error) {
    return reject(`the certificate cannot be used: ${messageOf(error)}`, renew);
  }
}

function reject(text: string, advice: string): DiskFinding {
  return { finding: 'Certificate', verdict: 'Reject', text, advice };
}
