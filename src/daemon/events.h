/* The journal's MESSAGE_ID of each kind of event; systemd/reconciled.catalog explains them. */
#pragma once

#define EVENT_STARTED        "88766ce3e4fa4cda8055ff643fd40d8a"
#define EVENT_STOPPED        "63cecdba1bba4510857b8955b9e3a515"
#define EVENT_RELOADED       "64e971dee0c04c7aa6d7da8980987c44"
#define EVENT_RELOAD_REFUSED "9962b92f6ab54daf81101cdbe3c3a085"
#define EVENT_VERDICT        "fe8b25921bd94d58acd006121326fd8a"
#define EVENT_REVISED        "8313c439900247d8a5299a05c4979b63"
#define EVENT_API_TROUBLE    "8b96f2c7cc914055a82e80b727a71010"
#define EVENT_API_RECOVERED  "b4ca2594148842e4a5e8f6298b1e9b59"
#define EVENT_QUARANTINED    "2959a4446d474a23ac7e42843c7c5731"
#define EVENT_DRIFTED        "e3713787b13b4975aa9a0a8d85901dbc"
#define EVENT_QUEUE_REFUSED  "cc1a6c163f43475d8272704f311f7a45"
#define EVENT_REVOKED        "64c7d12bc4b44e989462ee7ea33b601e"
#define EVENT_REVOKE_TROUBLE "55aa10fb144446c0ba5f7f4b0685a25a"
#define EVENT_DATABASE       "1b4b86e87d254e45b98d6f9123ae2eef"
