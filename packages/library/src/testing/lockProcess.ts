import { lockFolder } from "../database/folderLock.ts";

/** Takes the lock of the folder at the moment that the parent says, tells how it went, and lives on until it is killed. */
const folder = process.argv[2]!;
setInterval(() => undefined, 60_000);
process.send!("ready");
process.once("message", () => {
  try {
    lockFolder(folder);
    process.send!("got it");
  } catch (error) {
    process.send!((error as Error).message);
  }
});
