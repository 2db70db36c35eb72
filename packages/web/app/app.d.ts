import type { SiteRequest } from "$service/server.ts";
import type { Site } from "$service/site.ts";

declare global {
  namespace App {
    interface Locals {
      site: Site;
      /** The visitor's anonymous voter token, unchecked. */
      voter: string | undefined;
      theme: "light" | "dark" | "auto";
    }
    interface Platform {
      req: SiteRequest;
    }
    interface Error {
      message: string;
      /** Names the line in the log. */
      id?: string;
    }
  }
}
