-- Who is told of events outside: webhooks with what is due to them, and Web Push with what may be due to devices.
CREATE TABLE IF NOT EXISTS `webhooks` (
	`id` varchar(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`url` varchar(2048) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`events` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`rooms` mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	`users` mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	`secret` varchar(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`created_by` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`created_at` datetime(3) NOT NULL,
	`disabled_at` datetime(3),
	`disabled_because` varchar(32) CHARACTER SET ascii COLLATE ascii_bin,
	`dropped` bigint unsigned NOT NULL DEFAULT 0,
	CONSTRAINT `webhooks_pk` PRIMARY KEY(`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `deliveries` (
	`id` bigint unsigned NOT NULL AUTO_INCREMENT,
	`webhook` varchar(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`event_id` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`body` mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	`created_at` datetime(3) NOT NULL,
	`retry_from` datetime(3) NOT NULL,
	`due_at` datetime(3),
	`tries` int NOT NULL,
	`dead_at` datetime(3),
	`last_error` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
	CONSTRAINT `deliveries_pk` PRIMARY KEY(`id`),
	CONSTRAINT `deliveries_event` UNIQUE(`webhook`,`event_id`),
	KEY `deliveries_due` (`webhook`,`due_at`),
	KEY `deliveries_dead` (`webhook`,`dead_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `push_subscriptions` (
	`id` bigint unsigned NOT NULL AUTO_INCREMENT,
	`user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`device` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`endpoint` varchar(1024) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`endpoint_hash` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`p256dh` varchar(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`auth` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`created_at` datetime(3) NOT NULL,
	CONSTRAINT `push_subscriptions_pk` PRIMARY KEY(`id`),
	CONSTRAINT `push_subscriptions_device` UNIQUE(`user`,`device`),
	CONSTRAINT `push_subscriptions_endpoint` UNIQUE(`endpoint_hash`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `push_due` (
	`user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`device` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`conversation` varchar(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`seq` bigint unsigned NOT NULL,
	`id` bigint unsigned NOT NULL,
	`from_user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`preview` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	`expires_at` bigint unsigned,
	`urgent` boolean NOT NULL DEFAULT false,
	`created_at` datetime(3) NOT NULL,
	`due_at` datetime(3) NOT NULL,
	`tries` int NOT NULL,
	CONSTRAINT `push_due_pk` PRIMARY KEY(`user`,`device`,`conversation`),
	KEY `push_due_due_at` (`due_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
