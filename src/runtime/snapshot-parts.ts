/** What a desk of snapshots works with, made when it is first needed: most replicas are idle, and there may be thousands. */
import { InstallDesk, type InstallDeskOptions } from './install-desk.ts';
import type { SnapshotDeskOptions } from './snapshot-desk.ts';
import { SnapshotInstallation } from './snapshot-installation.ts';
import { SnapshotServer } from './snapshot-server.ts';

/** See the file comment. */
export class SnapshotParts {
  readonly #options: SnapshotDeskOptions;
  readonly #wants: Pick<InstallDeskOptions, 'members' | 'need' | 'install'>;
  #server: SnapshotServer | undefined;
  #installer: InstallDesk | undefined;
  #installation: SnapshotInstallation | undefined;

  constructor(
    options: SnapshotDeskOptions,
    wants: Pick<InstallDeskOptions, 'members' | 'need' | 'install'>,
  ) {
    this.#options = options;
    this.#wants = wants;
  }

  /** Gives snapshots to peers. */
  get server(): SnapshotServer {
    const { replica, folder } = this.#options;
    const { state } = replica;
    this.#server ??= new SnapshotServer({ ...this.#options, state, source: folder });
    return this.#server;
  }

  /** The server, if anybody ever asked. */
  get knownServer(): SnapshotServer | undefined {
    return this.#server;
  }

  /** Fetches snapshots. */
  get installer(): InstallDesk {
    this.#installer ??= new InstallDesk({ ...this.#options, ...this.#wants });
    return this.#installer;
  }

  /** The one that fetches, if anything was ever needed. */
  get knownInstaller(): InstallDesk | undefined {
    return this.#installer;
  }

  /** Puts the replica on a snapshot. */
  get installation(): SnapshotInstallation {
    this.#installation ??= new SnapshotInstallation(this.#options);
    return this.#installation;
  }

  /** Whether the replica is being put on a snapshot. */
  get isInstalling(): boolean {
    return this.#installation?.isUnderWay ?? false;
  }

  /** Nothing begins any more; resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#server?.close();
    this.#installation?.close();
    await this.#installer?.close();
  }
}
